"""
The batch on which a training broke down, written for whoever looks for the reason.

Safetensors and JSON; knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
import json
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
import torch

from chunked_vla_ros.core.training_windows import episode_of, IntArray
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.flow_matching import FlowDraws
from chunked_vla_ros.training.material import Material


def dump_batch(folder: Path, step: int, indices: IntArray, batch: Batch, draws: FlowDraws,
               material: Material, why: str) -> Path:
    """
    Write the batch of ``step`` and its draws into ``folder``; return it.

    :param indices: Shape (B,), the windows in it, as in the tensors.
    """
    tensors = {spec.name: getattr(batch, spec.name) for spec in fields(batch)
               if spec.name != 'images'}
    tensors |= {f'image.{name}': image for name, image in batch.images.items()}
    tensors |= {f'draws.{spec.name}': getattr(draws, spec.name) for spec in fields(draws)
                if getattr(draws, spec.name) is not None}
    return write_dump(folder, step, indices, tensors, material.training.rows[indices], material,
                      why)


def write_dump(folder: Path, step: int, indices: IntArray, tensors: Mapping[str, torch.Tensor],
               rows: IntArray, material: Material, why: str) -> Path:
    """
    Write the ``tensors`` of the batch of ``step`` into ``folder``; return it.

    :param rows: Shape (B,), where its windows begin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().clone().contiguous()
               for name, tensor in tensors.items()}, folder / 'batch.safetensors')
    episodes = episode_of(rows, material.rows.episode_starts)
    (folder / 'batch.json').write_text(json.dumps({
        'step': step, 'why': why, 'seed': material.origin.config.seed,
        'windows': indices.tolist(), 'rows': rows.tolist(),
        'episodes': [material.rows.episode_ids[index] for index in episodes],
        'rows_in_episode': (rows - np.asarray(material.rows.episode_starts)[episodes]).tolist(),
        # Which numbers were wrong before the network saw them.
        'not_finite': sorted(name for name, tensor in tensors.items()
                             if not torch.isfinite(tensor.float()).all())}, indent=1))
    return folder
