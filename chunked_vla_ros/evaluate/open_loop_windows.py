"""
Which windows of a dataset a policy is asked at, what was recorded there, and what it then says.

Held-out episodes are named by number or by a split file that training wrote; the mean chunks come
from all the others. Knows no model's file and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.open_loop import RecordedWindows
from chunked_vla_ros.core.policy import Policy, PolicySpec
from chunked_vla_ros.core.types import CameraFrame, FloatArray, JointSample, NS_PER_S, Observation
from chunked_vla_ros.data.bundle_json import LONGEST_TEXT
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.training_rows import TrainingRows

SPLIT_KEY = 'validation'


def held_out_by_split(file: Path) -> tuple[str, ...]:
    """
    Return the ids (``dataset#number``) of the episodes that training held out.

    :raises DatasetError: one line: the file cannot be read, or names none.
    """
    try:
        found = json.loads(file.read_text(encoding='utf-8'))[SPLIT_KEY]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{file}: is no split ({type(error).__name__}), expected JSON with '
                           f'{SPLIT_KEY!r}, as training writes it') from error
    if not isinstance(found, list) or not found or not all(
            isinstance(each, str) for each in found):
        raise DatasetError(f'{file}: {SPLIT_KEY} is {str(found)[:60]}, expected a list of '
                           'episodes such as ["g1_bottle#82"]')
    return tuple(found)


def choose(ids: Sequence[str], numbers: Sequence[int], split: Sequence[str]
           ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Return (places of held-out episodes, places of the others) among ``ids``.

    :param ids: ``dataset#number`` of every episode.
    :param numbers: Numbers of held-out episodes, in whichever of the datasets has them.
    :param split: Ids of held-out episodes; one of both is empty.
    :raises DatasetError: one line: an episode is absent, one of ``split`` may be either of two, or
        none is left on either side.
    """
    endings = {f'#{number}' for number in numbers}
    wanted = [place for place, name in enumerate(ids)
              if name in split or name[name.rfind('#'):] in endings]
    known = {ids[place] for place in wanted}
    twice = [name for name in split if ids.count(name) > 1]
    if twice:
        raise DatasetError(f'held-out episode {", ".join(twice[:5])} is in two of the datasets: '
                           'give one of their folders another name, or name it once')
    missing = sorted({*split} - known) + sorted(
        ending for ending in endings if not any(name.endswith(ending) for name in known))
    if missing or not wanted:
        raise DatasetError(f'held-out episode {", ".join(missing[:5]) or "(none named)"} is not '
                           f'in the data, expected some of {", ".join(ids[:20])}')
    others = [place for place in range(len(ids)) if place not in set(wanted)]
    if not others:
        raise DatasetError('every episode is held out: the mean chunks need the training '
                           'episodes, name their dataset with --data as well')
    return np.array(wanted, np.int64), np.array(others, np.int64)


def learnt_from(training: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """
    Return which of the episodes ``names`` (``dataset#number``) a policy has learnt from.

    :param training: What its bundle says of its training. Of a bundle that does not tell its
        datasets and held-out episodes, or not to the end, nothing is known: none is returned.
    """
    # Between spaces, as a dataset may have some in its name.
    sets, held = (f' {training.get(key, "")} ' for key in ('datasets', 'held_out'))
    if not held.strip() or len(training['held_out']) >= LONGEST_TEXT:    # cut there
        return []
    return [name for name in names
            if f' {name.rpartition("#")[0]} ' in sets and f' {name} ' not in held]


@dataclass(frozen=True)
class AskedWindows:
    """
    Where a policy is asked.

    :ivar recorded: What was recorded there.
    :ivar first: The window's first row, shape (N,).
    :ivar episodes: Places of the E episodes among those of the rows, shape (E,).
    :ivar stride: Rows from a point of a chunk to the next.
    """

    recorded: RecordedWindows
    first: NDArray[np.int64]
    episodes: NDArray[np.int64]
    stride: int


def asked_windows(rows: TrainingRows, episodes: NDArray[np.int64], spec: PolicySpec,
                  every: int) -> AskedWindows:
    """
    Return the windows that begin every ``every`` rows of ``episodes`` (E,).

    :raises DatasetError: the policy's step is no whole number of rows.
    """
    starts, lengths = rows.episode_starts[episodes], rows.episode_lengths[episodes]
    windows = rows.windows(spec.horizon, spec.step_s, episodes)
    owner = np.repeat(np.arange(len(episodes)), lengths)
    which = np.flatnonzero((windows.rows - starts[owner]) % every == 0)
    first, owner = windows.rows[which], owner[which]
    begins = first == starts[owner]
    last = np.where(begins[:, None], rows.state[first], rows.action[np.maximum(first - 1, 0)])
    recorded = RecordedWindows(
        np.float64(rows.state[first]), np.float64(last),
        np.float64(rows.action[windows.action_rows(which)]), windows.valid(which), owner)
    return AskedWindows(recorded, first, episodes, windows.stride)


def predict(policy: Policy, rows: TrainingRows, asked: AskedWindows, samples: int,
            progress: Callable[[], None]) -> FloatArray:
    """
    Return what ``policy`` plans at each of N windows, shape (N, H, J).

    It is reset where an episode begins, so that its noise does not depend on which came before.

    :param samples: So many plans are averaged: those of a generative policy differ.
    :raises DatasetError: one line: a camera that it needs was not recorded.
    :raises PolicyError: it cannot act on an observation.
    """
    places = [place for place, camera in enumerate(rows.cameras)
              if camera.name in policy.spec.cameras]
    _check_cameras(policy.spec, rows, asked, places)
    owner, plans = asked.recorded.episode, []
    for number, row in enumerate(asked.first):
        if number == 0 or owner[number] != owner[number - 1]:
            policy.reset()
        # Where no times were recorded, rows are counted as seconds.
        stamp_ns = round(float(row) * NS_PER_S / (rows.fps or 1.0))
        joints = JointSample(stamp_ns, rows.state[row], np.zeros(rows.state.shape[1]))
        images = {rows.cameras[place].name: CameraFrame(
            stamp_ns, rows.frames.read(np.array([row]), place)[0]) for place in places}
        instruction = rows.instructions[rows.instruction_of[asked.episodes[owner[number]]]]
        observation = Observation(stamp_ns, joints, images, instruction)
        plans.append(np.mean(
            [policy.plan(observation).positions for _ in range(samples)], axis=0))
        progress()
    return np.stack(plans)


def _check_cameras(spec: PolicySpec, rows: TrainingRows, asked: AskedWindows,
                   places: Sequence[int]) -> None:
    for episode in asked.episodes:
        for place in places:
            if not rows.present[episode, place]:
                raise DatasetError(
                    f'{rows.episode_ids[episode]}: has no camera {rows.cameras[place].name}, '
                    f'which {spec.policy_id} needs; hold out another episode')
