"""
A checkpoint as files: whole or not there, whatever is killed when; safetensors and JSON only.

A pickle is a program: none is ever opened here, and a folder that has one is refused. Knows
nothing about what the tensors are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import shutil
from typing import Any

from safetensors import safe_open, SafetensorError
from safetensors.torch import save_file
import torch

from chunked_vla_ros.data.checkpoint_folder import (
    checkpoint_path,
    CHECKPOINTS,
    checkpoints,
    STATE,
)
from chunked_vla_ros.data.durable_file import sync_file, sync_folder
from chunked_vla_ros.data.folder_exchange import publish

PICKLES = frozenset({'.pt', '.pth', '.bin', '.pkl', '.pickle', '.ckpt', '.joblib'})
SCHEMA = 1
LARGEST_JSON = 1 << 28


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one line with file, fault and remedy."""


@dataclass(frozen=True)
class Contents:
    """
    What is in a checkpoint.

    :ivar state: What `STATE` says, but for the files' hashes.
    :ivar tensors: Tensors by name, by the stem of their file.
    :ivar files: Other files, by name.
    """

    state: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    files: Mapping[str, bytes]


def write_contents(out: Path, step: int, contents: Contents) -> Path:
    """
    Write a checkpoint into the training folder ``out``; return its folder.

    Under a passing name first; only when all of it is on the disk it gets its own.

    :raises OSError: it cannot be written; those that were there are as they were.
    """
    target = checkpoint_path(out, step)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(out)
    scratch = target.with_name(f'.{target.name}.partial')
    scratch.mkdir()
    try:
        for stem, tensors in contents.tensors.items():
            save_file(_separate(tensors), scratch / f'{stem}.safetensors')
        for name, content in contents.files.items():
            (scratch / name).write_bytes(content)
        seals = {path.name: _seal(path) for path in sorted(scratch.iterdir())}
        (scratch / STATE).write_text(json.dumps(
            {'schema': SCHEMA, **contents.state, 'files': seals}, indent=1, allow_nan=False))
        for path in scratch.iterdir():
            sync_file(path)
        sync_folder(scratch)
        _clear(target)
        publish(scratch, target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
        raise OSError(getattr(error, 'errno', None) or 0, f'checkpoint cannot be written '
                      f'({reason})', str(target)) from error
    finally:
        # Gone already where all went well, else half of a checkpoint.
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _clear(target: Path) -> None:
    """Remove what has the name of a checkpoint but is none, as after half of a copy."""
    if target.is_dir() and not (target / STATE).exists():
        gone = target.rename(target.with_name(f'.{target.name}.gone'))
        shutil.rmtree(gone, ignore_errors=True)


def sweep(out: Path) -> None:
    """Remove what a kill left behind: half of a checkpoint, or half of a removal."""
    for path in (out / CHECKPOINTS).glob('.step_*'):
        shutil.rmtree(path, ignore_errors=True)


def prune(out: Path, keep: int) -> None:
    """Remove all but the ``keep`` newest checkpoints and the one that validated best."""
    found = checkpoints(out)
    losses = {path: _validation_loss(path) for path in found}
    best = min(found, key=lambda path: losses[path], default=None)
    for path in found[:-keep]:
        if path != best or losses[path] == float('inf'):
            # Renamed first: half of a checkpoint is never seen under its name.
            gone = path.rename(path.with_name(f'.{path.name}.gone'))
            shutil.rmtree(gone, ignore_errors=True)


def read_state(folder: Path) -> dict[str, Any]:
    """
    Return what the checkpoint in ``folder`` says of itself, after a look at all of its files.

    :raises CheckpointError: one line: it is none, or not whole, or has a pickle in it.
    """
    if folder.suffix in PICKLES:
        raise _pickle(folder)
    if not folder.is_dir():
        raise CheckpointError(f'{folder}: no checkpoint, expected a folder with {STATE}')
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLES:
            raise _pickle(path)
    said = _json(folder / STATE)
    if not isinstance(said, dict) or said.get('schema') != SCHEMA:
        found = said.get('schema') if isinstance(said, dict) else said
        raise CheckpointError(f'{folder / STATE}: schema is {str(found)[:40]}, expected '
                              f'{SCHEMA}; it is of another version of this package')
    files = said.get('files')
    if not isinstance(files, dict):
        raise CheckpointError(f'{folder / STATE}: says nothing of its files, {REMEDY}')
    for name, seal in files.items():
        if not isinstance(seal, dict) or Path(name).name != name:
            raise CheckpointError(f'{folder / STATE}: files is not readable, {REMEDY}')
        _check(folder / name, seal)
    return said


REMEDY = 'use another checkpoint'


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """
    Return the tensors of a safetensors file by name.

    :raises CheckpointError: one line: it is none, or it is cut off.
    """
    try:
        with safe_open(path, framework='pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}    # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if _looks_pickled(path):
            raise _pickle(path) from error
        raise CheckpointError(f'{path}: no safetensors file, or cut off '
                              f'({" ".join(str(error).split())}), {REMEDY}') from error


def read_bytes(path: Path) -> bytes:
    """
    Return a small file of a checkpoint.

    :raises CheckpointError: it cannot be read.
    """
    try:
        with path.open('rb') as file:
            return file.read(LARGEST_JSON)
    except OSError as error:
        raise CheckpointError(
            f'{path}: cannot be read ({error.strerror}), {REMEDY}') from error


def _json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'{path}: not JSON ({" ".join(str(error).split())}), '
                              f'{REMEDY}') from error


def _check(path: Path, seal: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise CheckpointError(f'{path}: is missing, {REMEDY}')
    size = path.stat().st_size
    if _looks_pickled(path):
        raise _pickle(path)
    if size != seal.get('size'):
        raise CheckpointError(
            f'{path}: has {size} bytes, expected {seal.get("size")}: cut off, {REMEDY}')
    if _seal(path)['sha256'] != seal.get('sha256'):
        raise CheckpointError(f'{path}: differs from its SHA-256 in {STATE}, {REMEDY}')


def _looks_pickled(path: Path) -> bool:
    """Return whether a file of tensors begins as torch.save, old or new, or pickle begin one."""
    with path.open('rb') as file:
        return path.suffix == '.safetensors' and file.read(2) in (
            b'PK', *(bytes((0x80, protocol)) for protocol in range(2, 6)))


def _pickle(path: Path) -> CheckpointError:
    return CheckpointError(f'{path}: is a pickle, which may run any program when it is read: '
                           'refused; expected safetensors and JSON only')


def _seal(path: Path) -> dict[str, Any]:
    with path.open('rb') as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {'size': path.stat().st_size, 'sha256': digest.hexdigest()}


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors on the CPU, each with memory of its own: tied weights share theirs."""
    taken: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in taken or own.numel() * own.element_size() != (
                own.untyped_storage().nbytes()):
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        separate[name] = own
    return separate


def _validation_loss(folder: Path) -> float:
    """Return the loss that a checkpoint had in validation, infinite if it had none."""
    try:
        loss = _json(folder / STATE).get('validation_loss')
    except (CheckpointError, AttributeError):
        return float('inf')
    return float(loss) if isinstance(loss, int | float) else float('inf')
