"""
Which learner a configuration asks for: imitation's, or that of offline RL.

Both have one interface, so that the training around them is the same. Knows neither's inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator

from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.training.checkpoint import Tensors
from chunked_vla_ros.training.ema import RunningMean
from chunked_vla_ros.training.learner import Learner, Learnt
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.phase import Loader, Phase
from chunked_vla_ros.training.rl_findings import RlFindings
from chunked_vla_ros.training.standing import Tell


class AnyLearner(Protocol):
    """The state of a training in one process; what is not said here is said of `Learner`."""

    mean: RunningMean

    @property
    def part(self) -> slice | None:
        """Return which rows of the whole batch are this process's; ``None``: all."""

    def phase(self, step: int, workers: int) -> Phase:
        """Return the phase of ``step``."""

    def learn(self, step: int, indices: IntArray, batch: Any, stop: bool) -> Learnt:
        """Take ``step``."""

    def has_learnt(self, step: int) -> bool:
        """Return whether the policy is another after ``step`` steps than at the beginning."""

    def findings(self) -> RlFindings | None:
        """Return what there is to say besides the curves."""

    def dump(self, folder: Path, step: int, indices: IntArray, loader: Loader,
             why: str) -> None:
        """Write the batch of ``step``."""

    def tensors(self) -> dict[str, Tensors]:
        """Return all that goes into a checkpoint."""

    def further(self) -> dict[str, Any]:
        """Return what goes into a checkpoint besides tensors, for JSON."""

    def restore(self, folder: Path, said: dict[str, Any]) -> None:
        """Become what was written to the checkpoint in ``folder``."""


def make_learner(material: Material, accelerator: Accelerator, tell: Tell,
                 scratch: Path) -> AnyLearner:
    """
    Return the learner of ``material``'s method.

    :param scratch: Folder for what is too large for the memory.
    :raises ValueError: one line: the network cannot be made, or not here.
    """
    if material.rl is None:
        return Learner(material, accelerator)
    from chunked_vla_ros.training.rl_learner import RlLearner
    return RlLearner(material, accelerator, tell, scratch)
