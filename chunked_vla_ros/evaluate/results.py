"""
What an evaluation found, and its JSON: counts, intervals, durations, smoothness, latencies.

Pure: no clock, no files. A quantity that was not measured is None, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from chunked_vla_ros.core.statistics import percentile, Spread, spread
from chunked_vla_ros.evaluate.comparison import compare, Comparison
from chunked_vla_ros.evaluate.episode import EpisodeRecord
from chunked_vla_ros.evaluate.language import language_results, LanguageResults
from chunked_vla_ros.evaluate.share import Share, share

SCHEMA = 1
IN_PROCESS, THROUGH_ROS = 'in process', 'through ROS'


@dataclass(frozen=True)
class PolicyResults:
    """
    All episodes of one policy.

    :ivar how: `IN_PROCESS` or `THROUGH_ROS`.
    :ivar paired: Those of `language_jobs`, two in a row for each start.
    :ivar assumed_latency_s: What each inference was taken to last [s]; ``None``: what it took.
    """

    name: str
    policy_id: str
    episodes: tuple[EpisodeRecord, ...]
    paired: tuple[EpisodeRecord, ...] = ()
    how: str = IN_PROCESS
    assumed_latency_s: float | None = None

    @property
    def label(self) -> str:
        """Return which policy it was and how it was run."""
        return self.policy_id if self.how == IN_PROCESS else f'{self.policy_id} {self.how}'

    @property
    def success(self) -> Share:
        """Return how many episodes succeeded."""
        return share(episode.success for episode in self.episodes)

    @property
    def by_instruction(self) -> dict[str, Share]:
        """Return how many episodes succeeded per instruction."""
        texts = sorted({episode.instruction for episode in self.episodes})
        return {text: share(episode.success for episode in self.episodes
                            if episode.instruction == text) for text in texts}

    @property
    def right_cube(self) -> Share:
        """Return how often the first cube lifted was the one named; none lifted is wrong."""
        return share(episode.first_lifted == episode.cube for episode in self.episodes
                     if episode.first_lifted is not None)

    @property
    def language(self) -> LanguageResults | None:
        """Return what the pairs showed, ``None`` if there were none."""
        return language_results(self.paired) if self.paired else None

    @property
    def cycle_time(self) -> Spread | None:
        """Return the spread of the successful episodes' durations in [s]."""
        times = [episode.duration_s for episode in self.episodes if episode.success]
        return spread(times) if times else None

    @property
    def plan_wall(self) -> tuple[float, float] | None:
        """Return median and 99th percentile of the policy's wall time per call in [s]."""
        times = [time_s for episode in (*self.episodes, *self.paired)
                 for time_s in episode.plan_wall_s]
        return (percentile(times, 50), percentile(times, 99)) if times else None

    @property
    def warning(self) -> str:
        """Return in one line that inferences were assumed to be quicker than they were, or ''."""
        wall, assumed_s = self.plan_wall, self.assumed_latency_s
        if wall is None or assumed_s is None or wall[0] <= assumed_s:
            return ''
        return (f'{self.label}: half of the inferences took longer than {wall[0]:.3f} s on this '
                f'machine, {assumed_s:g} s were assumed; for what such a machine would do: '
                f'--latency-s {wall[0]:.2f} or --measured-latency')

    def mean(self, field: str) -> float | None:
        """Return the mean of an episode's field over those that have it."""
        values = [value for episode in self.episodes
                  if (value := getattr(episode, field)) is not None]
        return float(sum(values) / len(values)) if values else None

    def total(self, field: str) -> int:
        """Return the sum of an episode's count."""
        return int(sum(getattr(episode, field) for episode in self.episodes))

    def endings(self) -> dict[str, int]:
        """Return how many runs ended by which reason."""
        reasons = [episode.termination for episode in self.episodes]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}

    def to_json(self) -> dict[str, Any]:
        """Return totals and every episode."""
        wall = self.plan_wall
        return {
            'policy': self.name, 'policy_id': self.policy_id, 'how': self.how,
            **self.success.to_json(),
            'by_instruction': {
                text: one.to_json() for text, one in self.by_instruction.items()},
            'right_cube': self.right_cube.to_json(),
            'cycle_time_s': asdict(self.cycle_time) if self.cycle_time else None,
            'assumed_latency_s': self.assumed_latency_s, 'warning': self.warning,
            'plan_wall_s': {'p50': wall[0], 'p99': wall[1]} if wall else None,
            'mean_rms_jerk': self.mean('rms_jerk'),
            'mean_spectral_arc_length': self.mean('spectral_arc_length'),
            'mean_cube_to_pad_m': self.mean('cube_to_pad_m'),
            'chunks_refused': self.total('refused'), 'holds': self.total('holds'),
            'clamps': self.total('clamps'), 'endings': self.endings(),
            'language': self.language.to_json() if self.language else None,
            'episodes': [episode.to_json() for episode in self.episodes],
            'language_episodes': [episode.to_json() for episode in self.paired]}


@dataclass(frozen=True)
class EvaluationResults:
    """
    A whole evaluation; ``command`` repeats it.

    :ivar timing: What was assumed of time in process, by name.
    :ivar policies: Each policy in process, then each through ROS; either may be left out.
    :ivar complete: Whether these are all the episodes that were asked for.
    :ivar missing_controls: A line for each policy that was shown without its control.
    """

    command: str
    robot: str
    position_set: str
    first_seed: int
    timing: Mapping[str, Any]
    versions: Mapping[str, str]
    policies: tuple[PolicyResults, ...]
    duration_s: float
    complete: bool = True
    missing_controls: tuple[str, ...] = ()

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Return every two that met the same starts: two policies, or one in both ways."""
        return tuple(
            compare((one.label, one.episodes), (other.label, other.episodes))
            for one, other in combinations(self.policies, 2)
            if one.episodes and (one.how == other.how or one.policy_id == other.policy_id))

    def to_json(self) -> dict[str, Any]:
        """Return everything, ready to be written; schema version first."""
        return {
            'schema': SCHEMA, 'command': self.command, 'complete': self.complete,
            'robot': self.robot,
            'position_set': self.position_set, 'first_seed': self.first_seed,
            'timing': dict(self.timing), 'duration_s': self.duration_s,
            'missing_controls': list(self.missing_controls),
            'policies': [policy.to_json() for policy in self.policies],
            'comparisons': [one.to_json() for one in self.comparisons],
            'versions': dict(self.versions)}


def policy_results(names: Sequence[str], ids: Sequence[str], records: Sequence[EpisodeRecord],
                   paired: Sequence[EpisodeRecord] = (),
                   assumed_latency_s: float | None = None) -> tuple[PolicyResults, ...]:
    """Return what was recorded in process by policy, in the order of the command line."""
    return tuple(
        PolicyResults(name, policy_id, tuple(one for one in records if one.policy == number),
                      tuple(one for one in paired if one.policy == number), IN_PROCESS,
                      assumed_latency_s)
        for number, (name, policy_id) in enumerate(zip(names, ids, strict=True)))
