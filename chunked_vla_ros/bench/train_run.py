"""
Single runs of the training benchmark: examples read in one way or another, and training steps.

Every way reads the same windows in the same order. Knows no table.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path
import subprocess
import sys
import time

import torch

from chunked_vla_ros.bench.convert_bags import contract, write_bag
from chunked_vla_ros.bench.train_plain import PlainExamples
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.datasets import DatasetError, open_dataset
from chunked_vla_ros.data.lerobot_files import LeRobotFiles
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows, TrainingRows
from chunked_vla_ros.training.batches import WindowLoader
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.learner import Learner, make_accelerator
from chunked_vla_ros.training.material import make_material, Material

OURS, DECODED, PLAIN, PLAIN_WORKERS = (
    'ours', 'ours, --no-cache', 'a video for each', 'a video for each, processes')
# Until allocators and threads have settled, and the batches that were read ahead are used up.
WARM_UP_STEPS = 6
SIZE = 224
TAIL_LINES = 3


@dataclass(frozen=True)
class LoadRun:
    """
    Reading ``windows`` examples in one way took so long.

    :ivar side: `OURS` or another of the ways.
    """

    side: str
    windows: int
    seconds: float

    @property
    def windows_per_s(self) -> float:
        """Return examples per second."""
        return self.windows / self.seconds


@dataclass(frozen=True)
class TrainRun:
    """
    Training steps took so long.

    :ivar waited_s: Of that the training waited for data.
    :ivar peak_bytes: The most memory of the GPU, 0 without one.
    """

    steps: int
    batch_size: int
    seconds: float
    waited_s: float
    peak_bytes: int
    device: str

    @property
    def steps_per_s(self) -> float:
        """Return steps per second."""
        return self.steps / self.seconds

    @property
    def wait_share(self) -> float:
        """Return the share of the time that went into waiting for data."""
        return self.waited_s / self.seconds


class TrainBench:
    """Data and network that all runs share."""

    def __init__(self, data: Path, config: TrainConfig, cache: Path) -> None:
        """
        Read the data and make the network.

        :raises DatasetError: the data cannot be used, or have no videos.
        :raises ValueError: configuration and contract do not fit them.
        """
        robot, cameras = load_robot(config.robot), config.cameras or None
        self._config = config
        self._rows = read_training_rows([data], robot, cameras, cache)
        decoded = read_training_rows([data], robot, cameras, no_cache=True)
        self._material = make_material(config, robot, self._rows)
        dataset = open_dataset(data)
        if not isinstance(dataset, LeRobotFiles) or not self._rows.cameras:
            raise DatasetError(f'{data}: is {dataset.layout} with {len(self._rows.cameras)} '
                               'cameras of the contract, expected a LeRobot dataset with videos')
        self._plain = PlainExamples(dataset, self._rows, self._material.training)
        self._loaders = {OURS: self._loader(self._rows), DECODED: self._loader(decoded)}
        self._learner: Learner | None = None
        self.order = WindowOrder(
            len(self._material.training), config.batch_size, config.seed)

    @property
    def facts(self) -> dict[str, object]:
        """Return what the numbers depend on."""
        rows, shape = self._rows, self._material.origin.shape
        return {'rows': len(rows.state), 'episodes': len(rows.episode_ids),
                'cameras': [f'{each.name} {each.width}x{each.height}' for each in rows.cameras],
                'batch_size': self._config.batch_size, 'horizon': shape.horizon,
                'backbone': self._config.policy.backbone, 'width': self._config.policy.width,
                'parameters': sum(each.numel() for each in self._network.vla.parameters()),
                'threads': torch.get_num_threads()}

    def load(self, side: str, windows: int, repeat: int, workers: int) -> LoadRun:
        """Read at least so many examples, others in each repeat."""
        steps = math.ceil(windows / self.order.batch_size)
        first, last = repeat * steps, (repeat + 1) * steps
        began_s = time.perf_counter()
        if side in self._loaders:
            with self._loaders[side].steps(self.order, first, last) as stream:
                count = sum(len(batch) for batch in stream)
        else:
            processes = workers if side == PLAIN_WORKERS else 0
            batches = self._plain.batches(self.order, first, last, processes)
            count = sum(len(batch['state']) for batch in batches)
        return LoadRun(side, count, time.perf_counter() - began_s)

    def train(self, steps: int) -> TrainRun:
        """Take training steps; some before do not count."""
        learner, order = self._network, self.order
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        last = WARM_UP_STEPS + steps
        began_s = waited_s = 0.0
        with self._loaders[OURS].steps(order, 0, last, learner.part) as stream:
            for step, batch in enumerate(stream):
                learner.learn(step, order.indices(step), batch, False)
                if step == WARM_UP_STEPS - 1:
                    began_s, waited_s = _now(on_gpu), stream.waited_s
            seconds, waited_s = _now(on_gpu) - began_s, stream.waited_s - waited_s
        return TrainRun(steps, order.batch_size, seconds, waited_s,
                        torch.cuda.max_memory_allocated() if on_gpu else 0,
                        torch.cuda.get_device_name() if on_gpu else 'cpu')

    @property
    def _network(self) -> Learner:
        if self._learner is None:
            self._learner = Learner(self._material, make_accelerator(self._config))
        return self._learner

    def _loader(self, rows: TrainingRows) -> WindowLoader:
        material: Material = self._material
        return WindowLoader(
            rows, material.training, material.tokens, material.masks, material.headings)


def make_dataset(folder: Path, episodes: int, frames: int) -> tuple[Path, Path]:
    """
    Record scenes and convert them as a user would; return the dataset and its contract.

    :raises DatasetError: the conversion failed.
    """
    bags, robot, out = folder / 'bags', folder / 'robot.yaml', folder / 'dataset'
    bags.mkdir(parents=True)
    robot.write_text(contract(SIZE, SIZE), encoding='utf-8')
    for number in range(episodes):
        write_bag(bags / f'bag_{number:04d}', number, frames, SIZE, SIZE)
    done = subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', 'convert', str(bags), '--out', str(out),
         '--robot', str(robot)], capture_output=True, text=True, errors='replace', check=False)
    if done.returncode:
        said = ' | '.join(done.stderr.strip().splitlines()[-TAIL_LINES:])
        raise DatasetError(f'{out}: cannot be made: {said}')
    return out, robot


def _now(on_gpu: bool) -> float:
    if on_gpu:    # what was asked for may still be going on
        torch.cuda.synchronize()
    return time.perf_counter()
