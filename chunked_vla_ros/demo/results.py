"""
What a demonstration found: episodes, latencies, counters; totals and their JSON.

Pure: no ROS, no clock, no files. A quantity that was not measured is None, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
import re
from typing import Any

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import ExecutorSample
from chunked_vla_ros.core.statistics import percentile, Spread, spread, wilson_interval

SCHEMA = 1
# How the inference node writes the rate of a stream: '19.9 of 20 Hz'.
RATE = re.compile(r'([\d.]+) of ([\d.]+) Hz')


@dataclass(frozen=True)
class EpisodeResult:
    """
    One episode: how it began, how its run ended and, apart from that, whether the task was done.

    :ivar cycle_time_s: The policy's goal accepted to its end, in [s].
    """

    seed: int
    instruction: str
    success: bool
    termination: str
    cycle_time_s: float
    chunks: int
    message: str = ''


@dataclass(frozen=True)
class Timing:
    """
    The executor's timing over the whole demonstration.

    :ivar observation_to_command_s: One value per executed chunk, in [s].
    :ivar lateness_p50_s: Median over the executor's windows of 1000 ticks, in [s].
    :ivar lateness_p99_s: The worst window's 99th percentile, in [s].
    """

    observation_to_command_s: tuple[float, ...] = ()
    lateness_p50_s: float | None = None
    lateness_p99_s: float | None = None


@dataclass(frozen=True)
class GraphHealth:
    """
    What the nodes say of themselves at the end.

    :ivar real_time_factor: Simulated over wall time, median of the seconds of the demonstration.
    :ivar rates_hz: Received by the inference node per stream, (median, expected) in [Hz].
    :ivar exit_codes: Exit code of each process after the graph was told to stop.
    """

    real_time_factor: float | None = None
    rates_hz: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    exit_codes: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def shut_down_cleanly(self) -> bool:
        """Whether every process ended by itself with code 0."""
        return bool(self.exit_codes) and all(code == 0 for code in self.exit_codes.values())


@dataclass(frozen=True)
class DemoResults:
    """A whole demonstration; ``command`` repeats it."""

    command: str
    robot: str
    position_set: str
    policy: Mapping[str, str]
    versions: Mapping[str, str]
    episodes: tuple[EpisodeResult, ...]
    timing: Timing
    counters: Counters
    health: GraphHealth
    duration_s: float

    @property
    def trials(self) -> int:
        """Return n."""
        return len(self.episodes)

    @property
    def successes(self) -> int:
        """Return k."""
        return sum(episode.success for episode in self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, self.trials)

    @property
    def cycle_time(self) -> Spread | None:
        """Return the spread of the successful episodes' cycle times in [s]."""
        times = [episode.cycle_time_s for episode in self.episodes if episode.success]
        return spread(times) if times else None

    @property
    def reads_scene(self) -> bool:
        """Whether the policy was shown the simulator's state, as policy_info says."""
        return self.policy.get('needs_scene', '').lower() != 'false'

    @property
    def worked(self) -> bool:
        """
        Whether the loop did what it should, and shut down cleanly.

        Who is shown where the cubes are has to succeed every time. A learned policy has a success
        rate, which the results state with its interval: one failure is no fault of the loop.
        """
        enough = self.trials if self.reads_scene else 1
        return self.trials > 0 and self.successes >= enough and self.health.shut_down_cleanly

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        latency = self.timing.observation_to_command_s
        return {
            'schema': SCHEMA, 'command': self.command, 'robot': self.robot,
            'policy': dict(self.policy), 'position_set': self.position_set,
            'n': self.trials, 'k': self.successes, 'wilson_95': list(self.interval),
            'seeds': [episode.seed for episode in self.episodes],
            'worked': self.worked, 'duration_s': self.duration_s,
            'cycle_time_s': asdict(self.cycle_time) if self.cycle_time else None,
            'observation_to_command_s': {
                'p50': percentile(latency, 50), 'p99': percentile(latency, 99),
                'count': len(latency)} if latency else None,
            'executor_lateness_s': {
                'p50': self.timing.lateness_p50_s, 'p99': self.timing.lateness_p99_s},
            'counters': asdict(self.counters),
            'real_time_factor': self.health.real_time_factor,
            'rates_hz': {name: list(pair) for name, pair in self.health.rates_hz.items()},
            'exit_codes': dict(self.health.exit_codes),
            'episodes': [asdict(episode) for episode in self.episodes],
            'versions': dict(self.versions)}


def chunk_latencies(samples: Iterable[ExecutorSample]) -> tuple[float, ...]:
    """Return observation-to-command latency in [s], once per executed chunk."""
    per_chunk = {
        (sample.session_id, sample.chunk_id): sample.observation_to_command_s
        for sample in samples if sample.session_id.strip('0')}
    return tuple(per_chunk.values())


def timing(samples: Sequence[ExecutorSample]) -> Timing:
    """Return the timing that ``samples`` show."""
    lateness = [sample for sample in samples if sample.lateness_p99_s > 0]
    return Timing(
        chunk_latencies(samples),
        percentile([s.lateness_p50_s for s in lateness], 50) if lateness else None,
        max((s.lateness_p99_s for s in lateness), default=None))


def counted(runs: Iterable[Sequence[ExecutorSample]]) -> Counters:
    """Return how much each counter grew during all ``runs``; what was between does not count."""
    ends = [(run[0].counters, run[-1].counters) for run in runs if run]
    return Counters(**{
        one.name: sum(getattr(last, one.name) - getattr(first, one.name) for first, last in ends)
        for one in fields(Counters)})


def health(findings: Iterable[tuple[str, Mapping[str, str]]],
           exit_codes: Mapping[str, int | None]) -> GraphHealth:
    """Return what the nodes' diagnostics, as (node name, values), say over all their seconds."""
    factors: list[float] = []
    rates: dict[str, list[tuple[float, float]]] = {}
    for node, values in findings:
        if node == 'sim' and 'real_time_factor' in values:
            factors.append(float(values['real_time_factor']))
        for key, text in values.items():
            found = RATE.fullmatch(text) if key.startswith('rate ') else None
            if node == 'inference' and found:
                rates.setdefault(key.removeprefix('rate '), []).append(
                    (float(found[1]), float(found[2])))
    return GraphHealth(
        percentile(factors, 50) if factors else None,
        {name: (percentile([pair[0] for pair in pairs], 50), pairs[-1][1])
         for name, pairs in rates.items()},
        dict(exit_codes))
