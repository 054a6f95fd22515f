"""
Which batches a step of offline RL learns from: chunks for a critic, windows for a policy, or both.

Knows no network but what reads a policy's features anew.
"""

from __future__ import annotations

from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.phase import Phase
from chunked_vla_ros.training.rl_batches import ChunkLoader, FlowLoader, windows_at, windows_of
from chunked_vla_ros.training.rl_config import CACHED
from chunked_vla_ros.training.rl_image_batches import SeenChunkLoader, windows_with_pictures
from chunked_vla_ros.training.rl_selection import (
    emphasised_order,
    order_of,
    selected_windows,
    Selection,
)
from chunked_vla_ros.training.vla import ActionScale
from chunked_vla_ros.training.vla_features import Features


def imitation_phase(material: Material, features: Features, selection: Selection,
                    workers: int) -> Phase:
    """Return the phase of a policy that learns from what was selected, and from no critic."""
    config = material.origin.config
    windows = windows_of(material.training, selected_windows(selection, material.training))
    order = order_of(selection, windows, config.batch_size, config.seed)
    if config.rl.features == CACHED:
        return Phase(config.steps, order, FlowLoader(material.rows, windows, features, workers))
    return Phase(config.steps, order, windows_with_pictures(material, windows, workers))


def critic_phase(material: Material, features: Features, scale: ActionScale, last: int,
                 with_policy: bool, workers: int) -> Phase:
    """
    Return the phase, up to step ``last``, of a critic that learns.

    :param with_policy: A policy learns beside it, from the window that begins with each chunk.
    """
    assert material.rl is not None
    config, rl = material.origin.config, material.rl
    if not with_policy:
        order = WindowOrder(len(rl.chunks), config.rl.critic_batch_size, config.seed)
        return Phase(last, order, ChunkLoader(
            material.rows, rl.chunks, features, scale, workers=workers))
    order = emphasised_order(material.training, rl.chunks.rows, config.batch_size, config.seed)
    every = material.rows.windows(config.horizon, config.step_s, material.split.training)
    windows = windows_of(every, windows_at(every, rl.chunks.rows))
    if config.rl.features == CACHED:
        return Phase(last, order, ChunkLoader(
            material.rows, rl.chunks, features, scale,
            FlowLoader(material.rows, windows, features), workers))
    return Phase(last, order, SeenChunkLoader(
        ChunkLoader(material.rows, rl.chunks, features, scale),
        windows_with_pictures(material, windows, workers), workers))
