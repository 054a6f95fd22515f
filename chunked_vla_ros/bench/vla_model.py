"""
A small VLA in torch, its bundle, and the comparison of ONNX Runtime with torch eager on it.

Two cameras, state and instruction through a transformer, then ten unrolled steps of flow matching:
the shape of a real policy with random weights. Knows nothing about ROS.
"""

from __future__ import annotations

from datetime import datetime, timezone
import json
from pathlib import Path
import tempfile
import time

import numpy as np
import torch
from torch import nn

from chunked_vla_ros.bench.bare_session import feeds, open_bare
from chunked_vla_ros.core.bundle_manifest import (
    BundleCamera,
    BundleManifest,
    MODEL_FILE,
    Statistics,
    TokenizerSpec,
)
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.policy_bundle import write_bundle

HORIZON, STEP_S, TOKENS = 16, 0.05, 8
WIDTH, DEPTH, HEADS, PATCH, FLOW_STEPS = 192, 4, 4, 28, 10
WORDS = {'[PAD]': 0, '[UNK]': 1, 'go': 2, 'left': 3, 'right': 4}
WARM_UP_RUNS = 3


class Block(nn.Module):
    """One transformer layer, normalised before attention and before the two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (1, N, WIDTH) after the layer."""
        count = x.shape[1]
        q, k, v = (part.reshape(1, count, HEADS, -1).transpose(1, 2)
                   for part in self.mix(self.before(x)).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(1, count, WIDTH))
        result: torch.Tensor = x + self.think(self.after(x))
        return result


class SmallVla(nn.Module):
    """Images, state, instruction and noise to actions, as the bundle's inputs and output."""

    def __init__(self, robot: RobotSpec) -> None:
        super().__init__()
        joints, (height, width, _) = len(robot.joints), robot.cameras[0].frame_shape
        patches = len(robot.cameras) * (height // PATCH) * (width // PATCH)
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.joints = nn.Linear(joints, WIDTH)
        self.places = nn.Parameter(torch.randn(1, patches + TOKENS + 1, WIDTH) * 0.02)
        self.layers = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.action_in, self.action_out = nn.Linear(joints, WIDTH), nn.Linear(WIDTH, joints)
        self.steps = nn.Parameter(torch.randn(FLOW_STEPS, 1, HORIZON, WIDTH) * 0.02)
        self.expert = Block()

    def forward(self, state: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor,
                noise: torch.Tensor, *images: torch.Tensor) -> torch.Tensor:
        """Return actions (1, H, J): the state and what ten steps make of the noise."""
        seen = [self.patch(image.permute(0, 3, 1, 2).float() / 255).flatten(2).transpose(1, 2)
                for image in images]
        words = self.words(tokens) * mask.unsqueeze(-1)
        context = self.layers(torch.cat(
            [*seen, words, self.joints(state).unsqueeze(1)], 1) + self.places)
        actions = noise
        for step in range(FLOW_STEPS):
            asked = self.action_in(actions) + self.steps[step]
            told = self.expert(torch.cat([asked, context], 1))[:, :HORIZON]
            actions = actions + self.action_out(told) / FLOW_STEPS
        return state.unsqueeze(1) + 0.01 * torch.tanh(actions)


def make_vla(robot: RobotSpec) -> SmallVla:
    """Return the model with the same random weights every time."""
    torch.manual_seed(0)
    model = SmallVla(robot)
    model.eval()
    return model


def export_vla(directory: Path, robot: RobotSpec) -> int:
    """Write the model's bundle to the new ``directory``; return how many parameters it has."""
    model, joints = make_vla(robot), len(robot.joints)
    cameras = tuple(BundleCamera(camera.name, camera.frame_shape[1], camera.frame_shape[0])
                    for camera in robot.cameras)
    inputs = (torch.zeros(1, joints), torch.ones(1, TOKENS, dtype=torch.int64),
              torch.ones(1, TOKENS, dtype=torch.int64), torch.zeros(1, HORIZON, joints),
              *(torch.zeros(1, *camera.frame_shape, dtype=torch.uint8) for camera in cameras))
    names = ['state', 'tokens', 'tokens_mask', 'noise',
             *(f'image.{camera.name}' for camera in cameras)]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / MODEL_FILE
        torch.onnx.export(model, inputs, path, input_names=names, output_names=['actions'],
                          dynamo=True, external_data=False, verbose=False)
        content = path.read_bytes()
    ones = (1.0,) * joints
    plain = Statistics((0.0,) * joints, ones, (-1.0,) * joints, ones)
    now = datetime.now(timezone.utc).isoformat(timespec='seconds')
    write_bundle(directory, BundleManifest(
        name='small-vla', created=now, files=(),
        joint_names=robot.joint_names, dim_kinds=robot.dim_kinds, horizon=HORIZON, step_s=STEP_S,
        cameras=cameras, needs_instruction=True,
        tokenizer=TokenizerSpec('tokenizer.json', TOKENS, 0), state_statistics=plain,
        action_statistics=plain, training={'weights': 'random, for measuring only'}),
        {MODEL_FILE: content, 'tokenizer.json': _tokenizer()})
    return sum(parameter.numel() for parameter in model.parameters())


def compare(robot: RobotSpec, model: bytes, threads: int, blocks: int,
            runs: int) -> tuple[list[list[float]], list[list[float]], float]:
    """
    Time ONNX Runtime and torch eager in turns, ``blocks`` times ``runs`` runs of each.

    :return: Durations [ms] of ONNX Runtime and of torch by block, and the largest difference of
        an action [rad].
    """
    torch.set_num_threads(threads)
    session, eager = open_bare(model, threads), make_vla(robot)
    inputs = feeds(session)
    # Ones are words; the model has no other order of inputs than that of its export.
    tensors = [torch.from_numpy(value) for value in _ordered(inputs, robot)]
    with torch.inference_mode():
        by_torch = eager(*tensors).numpy()
        difference = float(np.abs(by_torch - session.run(None, inputs)[0]).max())
        ort_ms: list[list[float]] = []
        torch_ms: list[list[float]] = []
        for _ in range(WARM_UP_RUNS):
            eager(*tensors)
            session.run(None, inputs)
        for _ in range(blocks):
            ort_ms.append([_timed(lambda: session.run(None, inputs)) for _ in range(runs)])
            torch_ms.append([_timed(lambda: eager(*tensors)) for _ in range(runs)])
    return ort_ms, torch_ms, difference


def _ordered(inputs: dict[str, np.ndarray], robot: RobotSpec) -> list[np.ndarray]:
    return [inputs[name] for name in ('state', 'tokens', 'tokens_mask', 'noise',
                                      *(f'image.{camera.name}' for camera in robot.cameras))]


def _timed(run: object) -> float:
    begun_ns = time.perf_counter_ns()
    run()    # type: ignore[operator]
    return (time.perf_counter_ns() - begun_ns) / 1e6


def _tokenizer() -> bytes:
    return json.dumps({
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [],
        'normalizer': None, 'pre_tokenizer': {'type': 'Whitespace'}, 'post_processor': None,
        'decoder': None,
        'model': {'type': 'WordLevel', 'vocab': WORDS, 'unk_token': '[UNK]'}}).encode()
