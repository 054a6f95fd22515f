"""
Play data on the disk: generated once by several processes, kept as .npy files.

    CACHE/cube-double_1001_seed0_1a2b3c4d/observations_0003.npy    and actions, positions

The folder's name has a fingerprint of the recipe; a part holds `PART` episodes and is there whole
or not at all, so that generating may be broken off anywhere. Knows no task and no learning.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, ExitStack
from dataclasses import dataclass
import hashlib
import importlib.metadata
from pathlib import Path
import time

import numpy as np

from chunked_vla_ros.data.durable_file import sync_file, sync_folder
from chunked_vla_ros.sim.ogbench_play import PlayEpisode, PlayRecorder, RECIPE
from chunked_vla_ros.sim.ogbench_task import Float32Array
from chunked_vla_ros.sim.served import Served

ARRAYS = ('observations', 'actions', 'positions')
PART = 10
# Of all seeds of the environment these are for data; others are for evaluation and online.
SEEDS_OF_A_SET = 1_000_000


@dataclass(frozen=True)
class PlaySet:
    """
    Which data: ``episodes`` of a scene, ``rows`` rows each, of a seed.

    Fewer episodes are always the first of more.
    """

    scene: str
    episodes: int
    rows: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        what = f'{RECIPE} {self.scene} {self.rows} {self.seed} {_versions()}'
        mark = hashlib.sha256(what.encode()).hexdigest()[:8]
        return f'{self.scene}_{self.rows}_seed{self.seed}_{mark}'

    @property
    def parts(self) -> int:
        """Return of how many parts it needs."""
        return -(-self.episodes // PART)


@dataclass(frozen=True)
class PlayData:
    """R rows, ``rows`` to an episode: arrays as in `PlayEpisode`, (R, S), (R, A), (R, Q)."""

    observations: Float32Array
    actions: Float32Array
    positions: Float32Array
    rows: int


class OutOfTimeError(RuntimeError):
    """The slice is over; what was finished is kept."""


def play_data(wanted: PlaySet, cache: Path, processes: int, deadline_s: float,
              tell: Callable[[int], None]) -> PlayData:
    """
    Return data from the cache, generated first where they are not there.

    :param deadline_s: Of `time.monotonic`.
    :param tell: Hears how many episodes came to be there.
    :raises OutOfTimeError: there was not enough time; the next call goes on.
    :raises OSError: the cache cannot be written.
    :raises ValueError: a file of it is damaged.
    :raises ServedError: a process died.
    """
    folder = cache / wanted.name
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for part in range(wanted.parts):
        if all(_file(folder, name, part).is_file() for name in ARRAYS):
            tell(_share(wanted, part))
        else:
            missing.append(part)
    if missing:
        _generate(wanted, folder, missing, processes, deadline_s, tell)
    read: dict[str, Float32Array] = {
        name: np.concatenate([_read(_file(folder, name, part)) for part in range(wanted.parts)])[
            :wanted.episodes * wanted.rows]
        for name in ARRAYS}
    return PlayData(**read, rows=wanted.rows)


def data_seed(wanted: PlaySet, episode: int) -> int:
    """Return the environment's seed of an episode of the data."""
    return wanted.seed * SEEDS_OF_A_SET + episode


class _PartRecorder(PlayRecorder):
    """Records whole parts, in a process of its own."""

    def part(self, wanted: PlaySet, number: int) -> list[PlayEpisode]:
        """Return the episodes of a part."""
        return [self.episode(data_seed(wanted, episode), wanted.rows)
                for episode in range(number * PART, (number + 1) * PART)]


def _generate(wanted: PlaySet, folder: Path, missing: list[int], processes: int,
              deadline_s: float, tell: Callable[[int], None]) -> None:
    count = min(processes, len(missing))
    _check_time(deadline_s)    # before simulators are built
    if count == 1:
        here = _PartRecorder(wanted.scene)
        for part in missing:
            _check_time(deadline_s)
            _write(folder, part, here.part(wanted, part))
            tell(_share(wanted, part))
        return
    with ExitStack() as stack:
        others = [stack.enter_context(closing(Served(_PartRecorder, wanted.scene)))
                  for _ in range(count)]
        for first in range(0, len(missing), count):
            _check_time(deadline_s)
            asked = list(zip(others, missing[first:first + count], strict=False))
            for other, part in asked:
                other.ask('part', wanted, part)
            for other, part in asked:
                _write(folder, part, other.answer())
                tell(_share(wanted, part))


def _check_time(deadline_s: float) -> None:
    if time.monotonic() > deadline_s:
        raise OutOfTimeError('the data are not complete yet')


def _share(wanted: PlaySet, part: int) -> int:
    """Return how many episodes of a part are wanted."""
    return min(PART, wanted.episodes - part * PART)


def _file(folder: Path, name: str, part: int) -> Path:
    return folder / f'{name}_{part:04}.npy'


def _read(path: Path) -> Float32Array:
    try:
        array: Float32Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path}: is no whole array ({error}); remove it, and what is missing is '
                         'made again') from error
    return array


def _write(folder: Path, part: int, episodes: list[PlayEpisode]) -> None:
    for name in ARRAYS:
        path = _file(folder, name, part)
        fresh = path.with_name(f'.{path.stem}.new.npy')
        np.save(fresh, np.concatenate([getattr(one, name) for one in episodes]))
        sync_file(fresh)
        fresh.replace(path)
    sync_folder(folder)


def _versions() -> str:
    return ' '.join(f'{name} {importlib.metadata.version(name)}' for name in ('mujoco', 'ogbench'))
