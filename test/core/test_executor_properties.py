"""
For any sequence of chunks, arrival times, stalls and stops no command exceeds a limit or jumps.

The checks below are written from the definition (bounded jerk, Taylor), not taken from the guard.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st
import numpy as np

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Command, ExecutorConfig, Mode, Source
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_follower import TeleopTarget
from chunked_vla_ros.core.types import ActionChunk, DimKind, JointSample, MotionState

MS = 1_000_000
KINDS = (DimKind.CONTINUOUS, DimKind.CONTINUOUS, DimKind.BINARY)
Make = Callable[..., RobotSpec]
MakeChunk = Callable[..., ActionChunk]

angles = st.floats(-2.5, 2.5)
offsets = st.floats(-0.3, 0.3)
waves = st.tuples(offsets, offsets, st.floats(0.1, 30.0), st.sampled_from([0.0, 0.5, 1.0, 9.0]))


@dataclass(frozen=True)
class Event:
    """Something that happens, after some ticks."""

    kind: str
    ticks: int
    stall_ms: int
    wave: tuple[float, float, float, float]
    age_ms: int
    points: int


events = st.builds(
    Event, kind=st.sampled_from(['chunk'] * 16 + ['noise', 'stop', 'release', 'reset', 'silence',
                                                  'hold', 'policy', 'teleop', 'wall clock']),
    ticks=st.integers(1, 60), stall_ms=st.sampled_from([0, 0, 0, 3, 12, 200]), wave=waves,
    age_ms=st.integers(-200, 700), points=st.integers(1, 20))


class Scene:
    """The executor beside an arm that does what it is told, and a record of every command."""

    def __init__(self, robot: RobotSpec, make_chunk: MakeChunk) -> None:
        self.robot, self.make_chunk = robot, make_chunk
        self.executor = Executor(robot, ExecutorConfig())
        self.steady_ns = self.node_ns = 10**9
        self.position = np.array([1.5, -1.5, 0.0])
        self.before: Command | None = None
        self.chunk_id = 0
        self.silent = False
        self.moved = False

    def tick(self, elapsed_ns: int) -> None:
        self.steady_ns += elapsed_ns
        self.node_ns += elapsed_ns
        if not self.silent:
            self.executor.observe(JointSample(self.node_ns, self.position, np.zeros(3)))
        command = self.executor.step(self.node_ns, self.steady_ns)
        if command is not None:
            self.check(command, min(elapsed_ns, 20 * MS) * 1e-9)
            self.position = command.state.position
        self.before = command

    def check(self, command: Command, dt: float) -> None:
        limits, now = self.robot.limits, command.state
        assert (now.position >= limits.lower - 1e-6).all()
        assert (now.position <= limits.upper + 1e-6).all()
        assert (np.abs(now.velocity) <= limits.velocity * (1 + 1e-5)).all()
        assert (np.abs(now.acceleration) <= limits.acceleration * (1 + 1e-5)).all()
        if self.before is None:
            # A pose that rounding has put beyond an end stop is taken at the end stop.
            assert np.abs(now.position - self.position).max() < 1e-6
            return
        last = self.before.state
        room = limits.jerk * dt
        self.moved |= bool((last.velocity != 0).any())
        assert (np.abs(now.acceleration - last.acceleration) <= room + 1e-4).all()
        assert (np.abs(now.velocity - last.velocity - last.acceleration * dt)
                <= room * dt / 2 + 1e-5).all()
        assert (np.abs(now.position - last.position - last.velocity * dt
                       - last.acceleration * dt**2 / 2) <= room * dt**2 / 6 + 1e-5).all()

    def apply(self, what: Event) -> None:
        executor = self.executor
        if what.kind in ('chunk', 'noise'):
            self.offer(what)
        elif what.kind == 'stop':
            executor.emergency_stop.set('pressed')
        elif what.kind == 'release':
            executor.emergency_stop.set('')
        elif what.kind == 'reset':
            executor.emergency_stop.set('')
            executor.reset(self.node_ns)
        elif what.kind == 'silence':
            self.silent = not self.silent
        elif what.kind == 'wall clock':
            self.node_ns += what.age_ms * 1000 * MS
        elif what.kind == 'teleop':
            executor.set_source(Source.TELEOP)
            executor.teleop.offer(TeleopTarget(self.node_ns, self.position + what.wave[0]))
        else:
            executor.set_source(Source.HOLD if what.kind == 'hold' else Source.POLICY)

    def offer(self, what: Event) -> None:
        amplitude, drift, omega, grip = what.wave
        t = np.arange(what.points) * 0.05 - max(what.age_ms, 0) * 1e-3
        line = amplitude * (1 - np.cos(omega * t)) / 2 + drift * t
        rows = self.position + np.stack([line, -line, np.zeros_like(line)], axis=1)
        rows[:, 2] = grip
        if what.kind == 'noise':
            rows[:, 0] += 0.1 * np.sin(1e4 * (t + 1.234))
        start_ns = max(self.node_ns - what.age_ms * MS, 1)
        self.chunk_id += 1
        self.executor.offer_chunk(self.make_chunk(
            rows, start_ns=start_ns, chunk_id=self.chunk_id,
            observation_ns=min(start_ns, self.node_ns)))


@settings(max_examples=60)
@given(st.lists(events, min_size=2, max_size=12))
def test_no_command_exceeds_a_limit_or_jumps(
        make_robot: Make, make_chunk: MakeChunk, sequence: list[Event]) -> None:
    scene = Scene(make_robot(KINDS), make_chunk)
    for _ in range(3):
        scene.tick(5 * MS)
    for what in (Event('chunk', 20, 0, (0.1, 0.1, 3.0, 1.0), 0, 20), *sequence):
        scene.apply(what)
        scene.tick(5 * MS + what.stall_ms * MS)
        for _ in range(what.ticks):
            scene.tick(5 * MS)
    event('moved' if scene.moved else 'stood still')


@settings(max_examples=30)
@given(waves, st.integers(1, 100))
def test_emergency_stop_always_ends_at_rest_inside_the_range(
        make_robot: Make, make_chunk: MakeChunk, wave: tuple[float, float, float, float],
        ticks: int) -> None:
    scene = Scene(make_robot(KINDS), make_chunk)
    for _ in range(3):
        scene.tick(5 * MS)
    scene.offer(Event('chunk', 0, 0, wave, 0, 20))
    for _ in range(ticks):
        scene.tick(5 * MS)
    scene.executor.emergency_stop.set('pressed')
    # The longest stop there is: a / j + v / a + a / j = 0.7 s.
    for _ in range(145):
        scene.tick(5 * MS)
    assert scene.executor.mode is Mode.ESTOP
    assert scene.before is not None
    assert not scene.before.state.velocity.any()


@settings(max_examples=8)
@given(st.floats(0.02, 0.08), st.floats(0.5, 2.0), st.integers(0, 150))
def test_smooth_motion_within_limits_is_never_clamped_or_stopped(
        make_robot: Make, make_chunk: MakeChunk, amplitude: float, omega: float, delay_ms: int
        ) -> None:
    scene = Scene(make_robot(KINDS), make_chunk)
    scene.position = np.zeros(3)
    scene.tick(5 * MS)
    start_ns = scene.node_ns
    for tick in range(600):
        if tick % 40 == 0:
            observed_ns = max(scene.node_ns - delay_ms * MS, start_ns)
            t = (observed_ns - start_ns) * 1e-9 + np.arange(24) * 0.05
            wave = amplitude * np.sin(omega * t) * (1 - np.exp(-4 * t))
            rows = np.stack([wave, -wave, np.zeros(24)], axis=1)
            scene.executor.offer_chunk(make_chunk(
                rows, start_ns=observed_ns, chunk_id=tick + 1))
        scene.tick(5 * MS)
    status = scene.executor.status(scene.node_ns)
    assert (status.counters.clamps, status.counters.holds) == (0, 0)
    assert status.mode is Mode.RUNNING
    t = (scene.node_ns - start_ns) * 1e-9
    expected = amplitude * np.sin(omega * t) * (1 - np.exp(-4 * t))
    assert abs(scene.position[0] - expected) < 1e-3


@settings(max_examples=25)
@given(st.lists(st.floats(-3.0, 3.0) | st.just(float('nan')), min_size=9, max_size=9))
def test_planner_gone_wrong_is_stopped_not_followed(
        make_robot: Make, make_chunk: MakeChunk, values: list[float]) -> None:
    scene = Scene(make_robot(KINDS), make_chunk)
    scene.tick(5 * MS)
    scene.offer(Event('chunk', 0, 0, (0.2, 0.2, 3.0, 0.0), 0, 20))
    for _ in range(60):
        scene.tick(5 * MS)
    wrong = MotionState(*np.array(values).reshape(3, 3))
    scene.executor._follower.state_at = lambda *_: wrong
    for _ in range(60):
        scene.tick(5 * MS)
    assert scene.executor.mode in (Mode.STOPPING, Mode.HOLD)
    assert scene.executor.status(scene.node_ns).reason.startswith('stopped at a limit: ')


def test_planner_that_drives_on_into_the_end_of_the_range_is_stopped_before_it(
        make_robot: Make, make_chunk: MakeChunk) -> None:
    scene = Scene(make_robot(KINDS), make_chunk)
    scene.tick(5 * MS)
    scene.offer(Event('chunk', 0, 0, (0.0, 0.2, 1.0, 0.0), 0, 20))
    for _ in range(160):
        scene.tick(5 * MS)
    last = scene.before
    assert last is not None
    scene.executor._follower.buffer_left_s = lambda _: 1.0
    scene.executor._follower.state_at = lambda t_ns, _: MotionState(
        last.state.position + last.state.velocity * (t_ns - last.due_ns) * 1e-9,
        last.state.velocity, np.zeros(3))
    for _ in range(600):
        scene.tick(5 * MS)
    assert scene.executor.status(scene.node_ns).reason == 'stopped at a limit: position'
    assert 1.9 < scene.position[0] <= 2.0 + 1e-9
