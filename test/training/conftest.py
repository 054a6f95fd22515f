"""A dataset of a few small episodes, and a training of it that takes a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
pytest.importorskip('av', reason='PyAV is not installed (extra data)')

import torch

from chunked_vla_ros.core.chunk_transitions import Trajectories
from chunked_vla_ros.core.dataset_episode import ActionSource, DatasetEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.dataset_schema import entry_schema
from chunked_vla_ros.data.episode_stage import stage_episode, staged_part
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows
from chunked_vla_ros.training.checkpoint import read_policy
from chunked_vla_ros.training.config import read_config
from chunked_vla_ros.training.material import make_material, Material
from chunked_vla_ros.training.rl_material import held_out_before, read_start
from chunked_vla_ros.training.standing import Standing
from chunked_vla_ros.training.train import run_training

FPS, ROWS, SIDE = 10, 12, 32
JOINTS = ('arm_joint', 'finger_joint')
STREAM = {'rate_hz': 10.0, 'time_base': 'header', 'tolerance_s': 0.2}
LIMITS = {'lower': -3.0, 'upper': 3.0, 'velocity': 2.0, 'acceleration': 5.0, 'jerk': 50.0,
          'home': 0.0}
CONTRACT = {
    'schema': 1, 'name': 'tiny', 'base_frame': 'world',
    'units': {'angle': 'rad', 'length': 'm', 'time': 's'},
    'joints': [{'name': JOINTS[0], 'kind': 'continuous', **LIMITS},
               {'name': JOINTS[1], 'kind': 'binary', **LIMITS}],
    'state': {'topic': 'joint_states', **STREAM},
    'cameras': [{'name': 'front', 'topic': 'cameras/front/image_raw', **STREAM, 'width': SIDE,
                 'info_topic': 'cameras/front/camera_info', 'height': SIDE, 'encoding': 'rgb8'}],
    'command': {'kind': 'position_command', 'topic': 'position_command', 'rate_hz': 100.0}}
# Everything that draws is on: whatever is drawn must be drawn again the same way.
CONFIG = {
    'horizon': 4, 'step_s': 0.1, 'token_length': 4, 'steps': 4, 'batch_size': 4,
    'warm_up_steps': 2, 'validation_episodes': 1, 'validate_every': 2, 'checkpoint_every': 2,
    'log_every': 1, 'seed': 3, 'ema_decay': 0.9, 'learning_rate': 0.003,
    'policy': {'width': 16, 'heads': 2, 'layers': 1, 'expert_layers': 1, 'flow_steps': 2},
    'imitation': {'flow_draws': 2, 'max_delay_steps': 2, 'instruction_dropout': 0.3,
                  'camera_dropout': 0.3, 'state_noise': 0.01},
    'augmentation': {'shift_px': 2}}


@pytest.fixture(autouse=True, scope='session')
def one_thread() -> None:
    """Let torch compute in one thread: in the same order always, beside other tests."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Place:
    """Files of a small training: what the command line names."""

    data: Path
    config: Path
    cache: Path

    def arguments(self, out: Path, *more: str) -> list[str]:
        """Return the command line after ``chunked-vla``."""
        return ['train', str(self.config), '--data', str(self.data), '--out', str(out),
                '--cache', str(self.cache), *more]


@pytest.fixture(scope='session')
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a dataset of three episodes of 12 rows, its contract and a configuration."""
    folder = tmp_path_factory.mktemp('training')
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(CONTRACT))
    config = folder / 'config.yaml'
    config.write_text(yaml.safe_dump({'robot': str(folder / 'tiny.yaml'), **CONFIG}))
    return Place(_dataset(folder / 'small', 3), config, folder / 'cache')


@pytest.fixture(scope='session')
def make_material_of(place: Place) -> Callable[..., Material]:
    """Return what makes the material of the small training, with ``key=value`` in place."""
    def make(*overrides: str, data: Path | None = None) -> Material:
        config = read_config(place.config, overrides)
        robot = load_robot(config.robot)
        return make_material(
            config, robot, read_training_rows([data or place.data], robot, None, place.cache))
    return make


@pytest.fixture(scope='session')
def imitation(make_material_of: Callable[..., Material],
              tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small training by imitation, where offline RL begins."""
    out = tmp_path_factory.mktemp('imitation')
    run_training(make_material_of('steps=2'), out, False, lambda standing: None)
    return out


@pytest.fixture(scope='session')
def rl_material_of(place: Place, imitation: Path,
                   tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Material]:
    """Return what makes the material of offline RL as ``said``, with ``key=value`` in place."""
    path = tmp_path_factory.mktemp('configurations') / 'rl.yaml'

    def make(said: dict[str, Any], *overrides: str, start: Path = imitation,
             data: Path = place.data) -> Material:
        path.write_text(yaml.safe_dump(said))
        policy, datasets = read_policy(start), (data,)
        config = read_config(path, ['rl.accept_weak_data=true', *overrides], policy.config)
        robot = load_robot(config.robot)
        rows = read_training_rows(datasets, robot, config.cameras or None, place.cache)
        config = held_out_before(policy, config, rows)
        return make_material(
            config, robot, rows, read_start(str(start), policy, config, rows, datasets))
    return make


@pytest.fixture(scope='session')
def make_training_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what writes a dataset of so many episodes, ``still``: nothing in it moves."""
    def make(episodes: int, still: bool = False) -> Path:
        return _dataset(tmp_path_factory.mktemp('data') / f'of_{episodes}', episodes, still)
    return make


class Told(list):
    """What a training has told."""

    def __call__(self, standing: Standing) -> None:
        self.append(standing)

    @property
    def losses(self) -> list[float]:
        """Return the losses of the steps, in order."""
        return [standing.metrics['loss'] for standing in self if standing.metrics]


@pytest.fixture
def told() -> Told:
    """Return what a training may tell how far it is."""
    return Told()


@dataclass(frozen=True)
class PointData:
    """
    What was recorded of a point that somebody drove to 0, well half the time.

    :ivar observations: (R, 1), where it was, in -1..1.
    :ivar actions: (R, 1), its speed in -1..1.
    :ivar good: (R,), whether it was being driven straight to 0.
    """

    observations: np.ndarray
    actions: np.ndarray
    trajectories: Trajectories
    good: np.ndarray


class PointWorld:
    """
    A point on a line that is to come within 0.1 of 0, at most 0.15 in a step.

    Small enough to know the answer: straight to 0 at full speed takes 3 to 6 steps.
    """

    horizon, limit, discount = 3, 24, 0.9

    def record(self, episodes: int, seed: int) -> PointData:
        """Return data in which every 3 steps a coin decides: straight to 0, or anywhere."""
        random = np.random.default_rng(seed)
        rows: list[tuple[float, float, float, bool, bool]] = []
        starts = []
        for _ in range(episodes):
            starts.append(len(rows))
            place = random.choice([-1.0, 1.0]) * random.uniform(0.5, 1.0)
            for step in range(self.limit):
                if step % self.horizon == 0:
                    good, speed = random.random() < 0.5, random.uniform(-1.0, 1.0)
                action = -np.sign(place) if good else speed
                moved = float(np.clip(place + 0.15 * action, -1.0, 1.0))
                there = abs(moved) < 0.1
                rows.append((place, action, float(there), there, good))
                place = moved
                if there:
                    break
            else:
                rows.append((place, 0.0, 0.0, False, False))
        places, actions, rewards, ends, good_rows = map(np.array, zip(*rows, strict=True))
        trajectories = Trajectories(
            rewards, ends, np.array(starts), np.diff([*starts, len(rows)]))
        return PointData(places[:, None], actions[:, None], trajectories, good_rows)

    def steps_needed(self, act: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Return the mean steps to 0 from 64 places, 24 where it is missed; whole chunks."""
        places = torch.cat([torch.linspace(-1.0, -0.5, 32), torch.linspace(0.5, 1.0, 32)])
        needed, there = torch.zeros(64), torch.zeros(64, dtype=torch.bool)
        for _ in range(self.limit // self.horizon):
            for action in act(places[:, None])[..., 0].unbind(dim=1):
                needed += ~there
                places = torch.where(
                    there, places, (places + 0.15 * action.clamp(-1.0, 1.0)).clamp(-1.0, 1.0))
                there |= places.abs() < 0.1
        return float(needed.mean())


@pytest.fixture(scope='session')
def point_world() -> PointWorld:
    """Return a world in which a chunked policy can be told good from bad within seconds."""
    return PointWorld()


def _dataset(root: Path, episodes: int, still: bool = False) -> Path:
    folders = [root.with_name(f'{root.name}_stage_{index}') for index in range(episodes)]
    for index, folder in enumerate(folders):
        stage_episode(folder, _episode(index, still), None, lambda count: None)
    about = staged_part(folders[0])[1]
    builder = DatasetBuilder(root, {**about, 'robot_type': 'tiny'},
                             entry_schema(about['features']), link=True)
    for folder in folders:
        builder.add(staged_part(folder)[0])
    builder.finish({'chunked_vla': {'schema': 1}})
    return root


def _episode(seed: int, still: bool) -> DatasetEpisode:
    """Return an episode: the arm swings, the finger closes half way, the picture brightens."""
    row = np.arange(ROWS)
    arm = 0.1 * seed + (0.0 if still else 0.5) * np.sin(row / 4)
    finger = np.where(row >= ROWS // 2, 0.0 if still else 0.8, 0.0)
    state = np.stack([0.0 * arm if still else arm, finger], axis=1)
    action = state + ([0.0, 0.0] if still else [0.02, 0.0])
    times_ns = 10**18 + row * 10**9 // FPS
    last = row == ROWS - 1

    def frames(camera: str):
        for each in row:
            yield np.full((SIDE, SIDE, 3), 20 * seed + 10 * each, np.uint8)

    return DatasetEpisode(
        f'bag_{seed}', FPS, times_ns, state, action, JOINTS, ActionSource.COMMANDED_POINT,
        ('lift it' if seed % 2 else 'put it down',) * ROWS, np.where(last, 1.0, 0.0), last, last,
        np.zeros(ROWS, bool), {'state': times_ns, 'action': times_ns, 'front': times_ns},
        Outcome.SUCCESS, {'front': (SIDE, SIDE, 3)}, frames, {})
