"""
The compact policy with drawn weights, its bundle, and ONNX Runtime against torch eager on it.

What a trained policy costs does not depend on what it has learnt. Knows nothing about ROS.
"""

from __future__ import annotations

from pathlib import Path
import time
from typing import Any

import numpy as np
import torch

from chunked_vla_ros.bench.bare_session import feeds, open_bare
from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.checkpoint import TrainedPolicy
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.export import export_trained
from chunked_vla_ros.training.export_graph import graph_inputs, Inference
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.tokenizer import tokenizer_spec, vocabulary_size, word_tokenizer
from chunked_vla_ros.training.vla import build_vla

NAME, INSTRUCTION = 'compact-drawn', 'put the red cube into the box'
WARM_UP_RUNS = 3
# Of fresh weights that are zero: an answer must depend on all that is seen.
SPREAD = 0.02


def drawn_policy(robot: RobotSpec) -> TrainedPolicy:
    """Return a policy of the default configuration with the same drawn weights every time."""
    config = TrainConfig(robot=robot.name)
    tokenizer = word_tokenizer([INSTRUCTION], config.token_length)
    shape = PolicyShape(
        robot.joint_names, robot.dim_kinds, tuple(map(BundleCamera.of, robot.cameras)),
        config.horizon, config.step_s, config.token_length, vocabulary_size(tokenizer))
    torch.manual_seed(0)
    vla = build_vla(config.policy, shape, _normalisation(robot, config.horizon))
    for weights in vla.parameters():
        if not weights.any():
            torch.nn.init.normal_(weights, std=SPREAD)
    vla.eval().requires_grad_(False)
    return TrainedPolicy(
        vla, shape, config, _normalisation(robot, config.horizon), tokenizer,
        tokenizer_spec(tokenizer, config.token_length), 0,
        {'weights': 'drawn, for measuring only'}, Path())


def export_vla(directory: Path, robot: RobotSpec) -> int:
    """Write the policy's bundle to the new ``directory``; return how many parameters it has."""
    return export_trained(drawn_policy(robot), directory, NAME).parameters


def compare(robot: RobotSpec, model: bytes, threads: int, blocks: int,
            runs: int) -> tuple[list[list[float]], list[list[float]], float]:
    """
    Time ONNX Runtime and torch eager in turns, ``blocks`` times ``runs`` runs of each.

    :return: Durations [ms] of ONNX Runtime and of torch by block, and the largest difference of
        an action [rad].
    """
    torch.set_num_threads(threads)
    policy = drawn_policy(robot)
    session, eager = open_bare(model, threads), Inference(policy.vla, 0).eval()
    inputs = feeds(session)
    tensors = [torch.from_numpy(inputs[name])
               for name in graph_inputs(policy.shape, takes_prefix=False)]
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


def _normalisation(robot: RobotSpec, horizon: int) -> Normalisation:
    """Return statistics of small moves around home."""
    home, ones = robot.home, np.ones(len(robot.joints))
    relative = np.array([kind is DimKind.CONTINUOUS for kind in robot.dim_kinds])
    return Normalisation(
        state_mean=home, state_std=0.1 * ones,
        action_mean=np.tile(np.where(relative, 0.0, home), (horizon, 1)),
        action_std=np.full((horizon, len(ones)), 0.01), relative=relative,
        state_min=home - 0.1, state_max=home + 0.1, action_min=home - 0.1, action_max=home + 0.1,
        action_raw_mean=home, action_raw_std=0.1 * ones)


def _timed(run: Any) -> float:
    begun_ns = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - begun_ns) / 1e6
