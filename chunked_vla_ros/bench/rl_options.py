"""
The options of ``chunked-vla bench rl`` and its presets; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

PRESET = "; -1: the preset's"
# Names of the methods as they are typed, in the order of the tables, and as they are published.
METHOD_NAMES = {'bfn_n': 'BFN-n', 'fql_n': 'FQL-n', 'fql': 'FQL', 'bfn': 'BFN', 'qc_fql': 'QC-FQL',
                'qc': 'QC', 'qc_cached': 'QC, cached', 'rlpd': 'RLPD', 'rlpd_ac': 'RLPD-AC',
                'qc_rlpd': 'QC-RLPD'}
# These have no offline phase: data and own episodes are learnt from together.
ONLINE_ONLY = ('rlpd', 'rlpd_ac', 'qc_rlpd')
# Made cheap by data that stay as they are, and of what: these have no online phase.
OFFLINE_ONLY = {'qc_cached': 'qc'}
COMPARED = ('bfn_n', 'fql', 'bfn', 'qc_fql', 'qc', 'rlpd')


@dataclass(frozen=True)
class Budget:
    """
    How much of everything a benchmark takes.

    :ivar play_episodes: Of the data, ``play_rows`` rows each.
    :ivar updates: Of the offline phase.
    :ivar online_steps: Steps in the environment after it, with an update for each.
    :ivar online_start: Steps before the first of these updates.
    :ivar evaluate_every: Updates from one evaluation to the next.
    :ivar episodes: Of an evaluation.
    :ivar width: Features of each of the ``layers`` hidden layers of every network.
    :ivar longest: Steps of an episode; 0: the task's own.
    :ivar candidates: N of every best-of-N method; 0: each method's published number.
    """

    play_episodes: int
    updates: int
    online_steps: int
    online_start: int
    evaluate_every: int
    episodes: int
    play_rows: int = 1001
    longest: int = 0
    width: int = 512
    layers: int = 4
    batch_size: int = 256
    flow_steps: int = 10
    candidates: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def phases(method: str, budget: Budget) -> tuple[int, int]:
    """Return the offline updates and the online steps that a method makes."""
    return (0 if method in ONLINE_ONLY else budget.updates,
            0 if method in OFFLINE_ONLY else budget.online_steps)


@dataclass(frozen=True)
class Preset:
    """A budget, and the tasks, methods and seeds that it is for."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    budget: Budget


PRESETS = {
    'smoke': Preset(('cube-single-task1',), ('bfn', 'qc_fql'), 1, Budget(
        play_episodes=2, play_rows=40, longest=40, updates=4, online_steps=0, online_start=0,
        evaluate_every=2, episodes=2, width=16, layers=2, batch_size=8, flow_steps=2,
        candidates=2)),
    'two-cores': Preset(('cube-single-task1', 'cube-double-task1'), COMPARED, 1, Budget(
        play_episodes=100, updates=5000, online_steps=2000, online_start=500,
        evaluate_every=2500, episodes=50, width=256, layers=3, candidates=4)),
    'gpu': Preset(('cube-single-task2', 'cube-double-task2'), COMPARED, 1, Budget(
        play_episodes=1000, updates=50_000, online_steps=10_000, online_start=5000,
        evaluate_every=10_000, episodes=50)),
}
PUBLISHED_UPDATES = 1_000_000


@dataclass(frozen=True)
class BenchRlOptions:
    """
    Learn OGBench's cube tasks offline and online from regenerated data, by published methods.

    Success with 95 % intervals beside the published numbers. It may go on for hours: `--slice-s`
    stops it in time, `--resume` goes on.
    """

    preset: str = parameter(
        'two-cores', f"how much: {', '.join(PRESETS)}; what follows replaces parts of it",
        choices=[*PRESETS])
    tasks: tuple[str, ...] = parameter(
        (), "such as cube-double-task2; left out: the preset's")
    methods: tuple[str, ...] = parameter(
        (), f"of {', '.join(METHOD_NAMES)}; left out: the preset's")
    seeds: int = parameter(
        -1, f'runs of each method, of network, batches and starts{PRESET}', minimum=-1,
        maximum=100)
    play_episodes: int = parameter(
        -1, f'of the data, of which the published have 1000{PRESET}', minimum=-1, maximum=100_000)
    data_seed: int = parameter(0, 'of the data', minimum=0, maximum=99)
    updates: int = parameter(
        -1, f'of the offline phase, of which the published have {PUBLISHED_UPDATES}{PRESET}',
        minimum=-1, maximum=10_000_000)
    online_steps: int = parameter(
        -1, f'in the environment after it, with an update for each{PRESET}', minimum=-1,
        maximum=10_000_000)
    online_start: int = parameter(
        -1, f'steps online before the first update, 5000 as published{PRESET}', minimum=-1,
        maximum=1_000_000)
    evaluate_every: int = parameter(
        -1, f'updates from one evaluation to the next{PRESET}', minimum=-1, maximum=10_000_000)
    episodes: int = parameter(
        -1, f'of an evaluation{PRESET}', minimum=-1, maximum=10_000)
    width: int = parameter(
        -1, f'features of each hidden layer, 512 as published{PRESET}', minimum=-1, maximum=8192)
    layers: int = parameter(
        -1, f'hidden layers, 4 as published{PRESET}', minimum=-1, maximum=64)
    batch_size: int = parameter(
        -1, f'chunks of an update, 256 as published{PRESET}', minimum=-1, maximum=65_536)
    flow_steps: int = parameter(
        -1, f'Euler steps of the flow, 10 as published{PRESET}', minimum=-1, maximum=1000)
    candidates: int = parameter(
        -1, f"samples that the best is taken of; 0: each method's published number{PRESET}",
        minimum=-1, maximum=4096)
    end_rule: str = parameter(
        'published', "what becomes of chunks that meet an episode's end",
        choices=['published', 'safe'])
    discount: float = parameter(0.99, 'of one step', minimum=1e-6, maximum=1.0)
    device: str = parameter('', 'of the networks, such as cuda; left out: a GPU if there is one')
    places: int = parameter(
        25, 'episodes of an evaluation that go on side by side', minimum=1, maximum=1000)
    processes: int = parameter(
        0, 'that simulate: data and evaluation; 0: one for each core, at most 8', minimum=0,
        maximum=256)
    slice_s: float = parameter(
        0.0, 'stop after this long, everything saved [s]; 0: go on to the end', minimum=0.0,
        maximum=1e6)
    resume: bool = parameter(False, 'go on with what is in --out')
    cache: str = parameter('out/ogbench_play', 'folder for the data, which are made once')
    out: str = parameter('out/bench_rl', f'folder for {RESULTS}, {TABLE} and checkpoints')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'rl', without=(
            'json', 'out', 'cache', 'resume', 'slice_s'))

    @property
    def chosen(self) -> Preset:
        """
        Return the preset with what the options replace.

        :raises ValueError: a method that there is not.
        """
        preset = PRESETS[self.preset]
        for name in self.methods:
            if name not in METHOD_NAMES:
                raise ValueError(
                    f'--methods has {name!r}, expected some of {", ".join(METHOD_NAMES)}')
        numbers = preset.budget.to_json()
        numbers |= {name: getattr(self, name) for name in numbers
                    if getattr(self, name, -1) != -1}
        budget = Budget(**numbers)
        for name in ('play_episodes', 'evaluate_every', 'episodes', 'width', 'layers',
                     'batch_size', 'flow_steps'):
            if getattr(budget, name) < 1:
                raise ValueError(
                    f'--{name.replace("_", "-")} is {getattr(budget, name)}, expected 1 or more')
        if self.seeds == 0:
            raise ValueError('--seeds is 0, expected 1 or more')
        return Preset(self.tasks or preset.tasks, self.methods or preset.methods,
                      preset.seeds if self.seeds == -1 else self.seeds, budget)
