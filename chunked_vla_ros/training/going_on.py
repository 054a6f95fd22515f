"""
May a training go on from the checkpoint that is there? Only if it would have become this one.

What differs is named, and of a damaged checkpoint what to do. Knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.data.checkpoint_folder import (
    checkpoint_step,
    checkpoints,
    newest_checkpoint,
)
from chunked_vla_ros.training.checkpoint import Origin, read_origin
from chunked_vla_ros.training.checkpoint_files import CheckpointError, REMEDY
from chunked_vla_ros.training.config import differences
from chunked_vla_ros.training.policy_shape import PolicyShape

# Statistics are sums over many rows: another processor adds them up in another order.
ROUNDING = 1e-5


class TrainingError(ValueError):
    """A training cannot begin, or broke down; the message is one line with the remedy."""


def checkpoint_to_go_on_from(origin: Origin, out: Path, resume: bool,
                             ) -> tuple[Path, dict[str, Any]] | None:
    """
    Return the newest checkpoint in ``out`` and what it says of itself, ``None`` if there is none.

    :raises TrainingError: one line: another training is in ``out``.
    :raises CheckpointError: one line: it is damaged, and what to do about it.
    """
    newest = newest_checkpoint(out)
    if newest is None:
        return None
    if not resume:
        raise TrainingError(
            f'{out}: a training is there already, at step {checkpoint_step(newest)}: go on with '
            '--resume, or name another folder')
    with way_out_named(newest):
        before, said = read_origin(newest)
    _compare(before, origin, out)
    return newest, said


@contextmanager
def way_out_named(folder: Path) -> Iterator[None]:
    """Say of a damaged checkpoint, ``folder``, how to go on without it."""
    try:
        yield
    except CheckpointError as error:
        fault = str(error)
        if not fault.endswith(f', {REMEDY}'):
            raise
        step = checkpoint_step(folder) or 0
        older = [before for before in map(checkpoint_step, checkpoints(folder.parents[1]))
                 if before is not None and before < step]
        then = f'takes step {older[-1]}' if older else 'begins anew'
        raise CheckpointError(f'{fault.removesuffix(f", {REMEDY}")}; remove {folder}: --resume '
                              f'then {then}') from error


def _compare(before: Origin, origin: Origin, out: Path) -> None:
    """Refuse what would not have become this training."""
    others = differences(before.config, origin.config)
    if others:
        raise TrainingError(
            f'{out}: its training has another configuration: {", ".join(others)}; give it the '
            'same, or name another folder')
    if before.data != origin.data:
        raise TrainingError(
            f'{out}: its training has other data: {_of_data(before)} then, {_of_data(origin)} '
            'now; give it the same, or name another folder')
    start, now = (one.provenance.get('from', '') for one in (before, origin))
    if start != now:
        raise TrainingError(
            f'{out}: its training began at another checkpoint: {start} then, {now} now; name the '
            'same with --from, or name another folder')
    others = _other_shape(before.shape, origin.shape)
    if others:
        raise TrainingError(
            f'{out}: its training has another robot contract or vocabulary: {", ".join(others)}; '
            'give it the same, or name another folder')
    others = _other_statistics(before.normalisation, origin.normalisation)
    if others:
        raise TrainingError(
            f'{out}: its training has other statistics of the same data: {", ".join(others)}; it '
            'is of another version of this package: name another folder')


def _of_data(origin: Origin) -> str:
    facts = origin.provenance
    return f'{facts["episodes"]} episodes with {facts["rows"]} rows of {facts["datasets"]}'


def _other_shape(before: PolicyShape, now: PolicyShape) -> tuple[str, ...]:
    if before.joint_names == now.joint_names:
        kinds = zip(now.joint_names, before.dim_kinds, now.dim_kinds, strict=True)
        found = tuple(f'{name} was {then.name.lower()}, is {kind.name.lower()}'
                      for name, then, kind in kinds if then is not kind)
        if found:
            return found
    former, present = before.to_dict(), now.to_dict()
    return tuple(f'{name} was {former[name]}, is {value}' for name, value in present.items()
                 if former[name] != value)


def _other_statistics(before: Normalisation, now: Normalisation) -> tuple[str, ...]:
    return tuple(
        spec.name for spec in fields(now) if not _alike(
            getattr(before, spec.name), getattr(now, spec.name)))


def _alike(before: np.ndarray[Any, Any], now: np.ndarray[Any, Any]) -> bool:
    return before.shape == now.shape and np.allclose(before, now, ROUNDING, ROUNDING * 1e-3)
