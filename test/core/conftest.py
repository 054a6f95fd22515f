"""An executor on a bench: with a clock, and an arm that is where it was commanded to be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Command, ExecutorConfig, Mode
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import ActionChunk, JointSample

MS = 1_000_000
START = 10**9


class Bench:
    """An executor, a clock, and an arm that is where it was commanded to be."""

    def __init__(self, robot: RobotSpec, make_chunk: Callable[..., ActionChunk],
                 **config: Any) -> None:
        self.executor = Executor(robot, ExecutorConfig(**config))
        self.make_chunk = make_chunk
        self.now_ns = START
        self.position = np.zeros(len(robot.joints))
        self.measured: np.ndarray | None = None    # where a blocked arm really is
        self.silent = False
        self.commands: list[Command | None] = []
        self.chunk_id = 0

    def run(self, duration_ms: int, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(duration_ms // 5):
            if not self.silent:
                where = self.position if self.measured is None else self.measured
                self.executor.observe(JointSample(self.now_ns, where, np.zeros_like(where)))
            command = self.executor.step(self.now_ns, self.now_ns)
            self.commands.append(command)
            if command is not None:
                self.position = command.state.position
            self.now_ns += 5 * MS
            if until():
                return

    def offer(self, positions: Any, **fields: Any) -> None:
        self.chunk_id += 1
        self.executor.offer_chunk(self.make_chunk(
            positions, start_ns=self.now_ns, chunk_id=self.chunk_id, **fields))

    @property
    def mode(self) -> Mode:
        return self.status.mode

    @property
    def status(self) -> Any:
        return self.executor.status(self.now_ns)

    @property
    def speed(self) -> float:
        command = self.commands[-1]
        return 0.0 if command is None else float(np.abs(command.state.velocity).max())


@pytest.fixture
def make_bench(make_chunk: Callable[..., ActionChunk]) -> Callable[..., Bench]:
    return lambda robot, **config: Bench(robot, make_chunk, **config)


@pytest.fixture
def bench(make_robot: Callable[..., RobotSpec], make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(make_robot())
