"""
A trained policy as one ONNX graph: images, joints and words in, absolute joint targets out.

The encoders are in it once, the flow steps one after another; names and types are those of
docs/policy_bundle.md. Knows nothing about files and checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import logging
import warnings

import onnx_ir
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants
import torch
from torch import nn

from chunked_vla_ros.policies.model_binding import (
    ACTIONS,
    image_input,
    MASK,
    NOISE,
    PREFIX,
    PREFIX_MASK,
    STATE,
    TOKENS,
)
from chunked_vla_ros.training.best_of_n import BestOfN
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla import Vla

# Known to every ONNX Runtime that the package pins (1.23 for Python 3.10).
OPSET = 20


class Inference(nn.Module):
    """A policy's whole inference as a function of the graph's inputs, in their order."""

    def __init__(self, policy: Vla | BestOfN, max_delay_steps: int) -> None:
        """Take the policy; it continues up to ``max_delay_steps`` rows, 0: none."""
        super().__init__()
        self.policy = policy
        self._cameras = len(policy.shape.cameras)
        # Longer prefixes than any in training are cut: the network has never seen one.
        steps = torch.arange(policy.shape.horizon) < max_delay_steps
        self.register_buffer('heeded', steps.float()[None])

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return actions (1, H, J) for the inputs that `graph_inputs` names."""
        images, (state, tokens, mask, noise, *told) = (
            inputs[:self._cameras], inputs[self._cameras:])
        prefix, prefix_mask = (told[0], told[1] * self.heeded) if told else (None, None)
        return self.policy.sample(
            images, state, tokens, mask, noise, prefix=prefix, prefix_mask=prefix_mask)


def graph_inputs(shape: PolicyShape, *, takes_prefix: bool,
                 candidates: int = 1) -> dict[str, torch.Tensor]:
    """
    Return an array of zeros for every input of the graph, by name, in the graph's order.

    :param candidates: Chunks that it makes at once, to answer with the best of them.
    """
    joints, horizon = len(shape.joint_names), shape.horizon
    words = torch.zeros(1, shape.token_length, dtype=torch.int64)
    inputs = {image_input(camera.name): torch.zeros(1, *camera.frame_shape, dtype=torch.uint8)
              for camera in shape.cameras}
    inputs |= {STATE: torch.zeros(1, joints), TOKENS: words, MASK: words.clone(),
               NOISE: torch.zeros(candidates, horizon, joints)}
    if takes_prefix:
        inputs |= {PREFIX: torch.zeros(1, horizon, joints), PREFIX_MASK: torch.zeros(1, horizon)}
    return inputs


def to_onnx(policy: Vla | BestOfN, max_delay_steps: int, candidates: int = 1) -> bytes:
    """
    Return the bytes of ``policy.onnx`` for a policy in evaluation mode on the CPU.

    :param candidates: Of a `BestOfN`, N.
    :param max_delay_steps: Longest prefix seen in training; 0: the graph takes none.
    :raises OnnxExporterError: if torch cannot export such a network.
    """
    inputs = graph_inputs(
        policy.shape, takes_prefix=max_delay_steps > 0, candidates=candidates)
    with _quietly(), torch.no_grad():
        exported = torch.onnx.export(
            Inference(policy, max_delay_steps).eval(), tuple(inputs.values()),
            input_names=list(inputs), output_names=[ACTIONS], opset_version=OPSET, dynamo=True,
            external_data=False, verbose=False, optimize=False)
        assert exported is not None    # with dynamo
        model = exported.model
        _tidy(model)
        data: bytes = onnx_ir.to_proto(model).SerializeToString()
        return data


def _tidy(model: onnx_ir.Model) -> None:
    """
    Compute what does not depend on inputs, and leave out what says how the graph was made.

    The exporter's own optimisation finds no more in such a graph, but takes most of a minute; the
    stack trace that it writes beside every node is a third of the file.
    """
    passes.InlinePass()(model)
    fold_constants(model)
    for step in (
            passes.RemoveUnusedNodesPass(),
            passes.RemoveUnusedOpsetsPass(),
            passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            passes.DeduplicateInitializersPass(), passes.CommonSubexpressionEliminationPass(),
            passes.RemoveUnusedNodesPass(), passes.OutputFixPass(), passes.NameFixPass(),
            passes.ClearMetadataAndDocStringPass()):
        step(model)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's own news from the terminal; its errors come as exceptions."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
