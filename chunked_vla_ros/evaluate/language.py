"""
Does a policy listen: the same scene twice, and only the cube that the instruction names differs.

A policy that ignores its instruction takes the same cube both times and is right at most once.
Pure: jobs and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord
from chunked_vla_ros.evaluate.share import Share, share
from chunked_vla_ros.sim.tasks import CUBES, PADS, Task

# So that the draw is not the one that places the cubes.
STREAM = 7


@dataclass(frozen=True)
class LanguageResults:
    """
    What the pairs of one policy showed.

    :ivar right_cube: Episodes in which the first cube lifted was the one named; none is wrong.
        The two of a pair have one start, so its interval, which takes them for independent, is
        too narrow.
    :ivar both_right: Pairs in which that holds for both instructions: independent of each other.
    :ivar same_cube: Pairs in which the same cube was lifted, whatever was said.
    :ivar success: Episodes in which that cube came to lie on the pad named.
    """

    right_cube: Share
    both_right: Share
    same_cube: Share
    success: Share

    def to_json(self) -> dict[str, Any]:
        """Return counts, rates and intervals."""
        return {name: getattr(self, name).to_json()
                for name in ('right_cube', 'both_right', 'same_cube', 'success')}


def language_jobs(policy: int, first_seed: int, pairs: int,
                  position_set: str) -> list[EpisodeJob]:
    """Return two jobs for each seed: the same start and pad, two different cubes."""
    jobs = []
    for seed in range(first_seed, first_seed + pairs):
        rng = np.random.default_rng([seed, STREAM])
        pad = list(PADS)[int(rng.integers(len(PADS)))]
        jobs += [EpisodeJob(policy, seed, position_set, Task(CUBES[int(cube)], pad).name)
                 for cube in rng.permutation(len(CUBES))[:2]]
    return jobs


def language_results(records: Sequence[EpisodeRecord]) -> LanguageResults:
    """Return what the records of `language_jobs` show, two in a row for each start."""
    right = [bool(one.first_lifted) and one.first_lifted == one.cube for one in records]
    pairs = list(zip(records[::2], records[1::2], strict=True))
    if any(one.seed != other.seed for one, other in pairs):
        raise ValueError('the records are not in pairs of one start each')
    return LanguageResults(
        share(right), share(a and b for a, b in zip(right[::2], right[1::2], strict=True)),
        share(bool(one.first_lifted) and one.first_lifted == other.first_lifted
              for one, other in pairs),
        share(one.success for one in records))
