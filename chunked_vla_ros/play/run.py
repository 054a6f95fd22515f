"""
Run ``chunked-vla play``: open the dataset, name the topics, play episode after episode, report.

The DDS profile is put in force before ROS 2 is imported, as Fast DDS reads it only once.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from chunked_vla_ros.core.robot_spec import ImageTransport, RobotSpec
from chunked_vla_ros.core.timeline import CAMERAS, JOINT_STATES, timeline, TRAJECTORY
from chunked_vla_ros.data.datasets import Dataset, open_dataset
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.transport import transport_environment
from chunked_vla_ros.play.options import PlayOptions
from chunked_vla_ros.play.prefetch import Prefetch

if TYPE_CHECKING:
    from chunked_vla_ros.nodes.player import Player

INTERRUPTED = 130
EXECUTOR_INPUT = 'joint_trajectory_in'


class PlayError(ValueError):
    """What was asked for cannot be played; one line."""


def run_play(options: PlayOptions) -> int:
    """Play what ``options`` say; return the exit code, 0 only if everything was published."""
    console = Console(stderr=True)
    try:
        dataset = open_dataset(options.dataset)
        robot = load_robot(options.robot) if options.robot else None
        joints, topics, episodes = plan(options, dataset, robot)
    except ValueError as error:    # DatasetError, ContractError, PlayError
        print(f'error: {error}', file=sys.stderr)
        return 2
    os.environ.update(transport_environment())
    from chunked_vla_ros.nodes.player import Player
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        player, code = Player(topics, options.namespace), 0
    except ValueError as error:    # a name that is none
        print(f'error: {error}', file=sys.stderr)
        return 2
    try:
        for line in _unheard_by(robot, topics):
            console.print(line)
        if options.wait_for_subscribers > 0.0:
            unheard = player.wait_for_subscribers(
                options.wait_for_subscribers, options.subscribers)
            if unheard:
                who = ('nobody listens' if options.subscribers == 1 else
                       f'fewer than {options.subscribers} subscribers listen')
                raise PlayError(
                    f'{who} to {", ".join(unheard)} after '
                    f'{options.wait_for_subscribers:g} s, leave it out with --topics')
        # Last: whoever listens is known by then, and so is what they publish.
        taken = player.taken(JOINT_STATES) if JOINT_STATES in topics else ''
        if taken:
            raise PlayError(
                f'{taken} has a publisher already and would mix with the recording; leave it out '
                'with --topics or play into another --namespace')
        while True:
            for index in episodes:
                _play_episode(options, dataset, index, player, joints, topics, console)
            if not options.loop:
                break
    except KeyboardInterrupt:
        code = INTERRUPTED
    except ValueError as error:    # also a broken video or table of a later episode
        print(f'error: {error}', file=sys.stderr)
        code = 1
    if not player.close() and not code:
        print('error: a subscriber did not acknowledge every message', file=sys.stderr)
        code = 1
    console.print(_table(player))
    return code


def plan(options: PlayOptions, dataset: Dataset, robot: RobotSpec | None,
         ) -> tuple[dict[str, str], dict[str, str], tuple[int, ...]]:
    """
    Return (dataset's joint names to published ones, stream to topic, episode numbers).

    :raises PlayError: an option that does not fit the dataset or the robot.
    """
    if not 0.01 <= options.rate <= 100.0:
        raise PlayError(f'--rate is {options.rate:g}, expected 0.01 to 100')
    if not math.isfinite(options.wait_for_subscribers) or options.wait_for_subscribers < 0.0:
        raise PlayError(
            f'--wait-for-subscribers is {options.wait_for_subscribers:g}, expected 0 s or more')
    if options.subscribers < 1:
        raise PlayError(f'--subscribers is {options.subscribers}, expected 1 or more')
    for index in options.episode:
        if index not in dataset.episodes:
            raise PlayError(f'{options.dataset}: has no episode {index}, expected one of '
                            f'{", ".join(map(str, dataset.episodes[:20]))}')
    topics: dict[str, str] = {}
    if JOINT_STATES in options.topics:
        topics[JOINT_STATES] = robot.state.topic if robot else JOINT_STATES
    if TRAJECTORY in options.topics:
        if not dataset.action_names:
            raise PlayError(f'{options.dataset}: has no action, leave trajectory out of --topics')
        if options.trajectory_topic.rsplit('/', 1)[-1] == EXECUTOR_INPUT:
            raise PlayError(
                f'--trajectory-topic is {options.trajectory_topic}: an executor would stop at '
                'every single point; drive it by chunked-vla up deploy --policy replay')
        topics[TRAJECTORY] = options.trajectory_topic
    if CAMERAS in options.topics:
        topics |= {camera: _camera_topic(camera, robot) for camera in dataset.cameras}
    if not topics:
        raise PlayError(f'{options.dataset}: nothing to play of {", ".join(options.topics)}, '
                        'expected joint_states, cameras or trajectory')
    return _joints(dataset, robot), topics, options.episode or dataset.episodes


def _joints(dataset: Dataset, robot: RobotSpec | None) -> dict[str, str]:
    if robot is None:
        return {}
    known = {}
    for name in (*dataset.state_names, *dataset.action_names):
        joint = robot.joint_called(name)
        if joint is None:
            raise PlayError(f'{robot.name} has no joint {name!r} as the dataset has, add it to '
                            'the aliases of one of its joints')
        known[name] = joint
    return known


def _camera_topic(name: str, robot: RobotSpec | None) -> str:
    for camera in robot.cameras if robot else ():
        if camera.name == name:
            compressed = camera.transport is ImageTransport.COMPRESSED
            return camera.stream.topic if compressed else f'{camera.stream.topic}/compressed'
    return f'cameras/{name}/image_raw/compressed'


def _unheard_by(robot: RobotSpec | None, topics: dict[str, str]) -> list[str]:
    """Return a line for each camera that is played compressed and that ``robot`` takes raw."""
    return [f'note: {robot.name} takes raw images of camera {camera.name}; {topics[camera.name]} '
            'is compressed' for camera in (robot.cameras if robot else ())
            if robot and camera.name in topics
            and camera.transport is not ImageTransport.COMPRESSED]


def _play_episode(options: PlayOptions, dataset: Dataset, index: int, player: Player,
                  joints: dict[str, str], topics: dict[str, str], console: Console) -> None:
    episode = dataset.episode(index)
    images = {camera: Prefetch(dataset.frames(index, camera))
              for camera in episode.cameras if camera in topics}
    columns = (TextColumn('{task.description}'), BarColumn(), TextColumn(
        '{task.completed:.1f} / {task.total:.1f} s'), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, refresh_per_second=4) as progress:
            bar = progress.add_task(episode.source, total=episode.duration_s)
            shown_s = 0.0
            items = timeline(episode, topics, images)
            for done_s in player.play(episode, items, joints, options.rate):
                if done_s - shown_s > 0.2:
                    progress.update(bar, completed=done_s)
                    shown_s = done_s
            progress.update(bar, completed=episode.duration_s)
    finally:
        for image in images.values():
            image.close()


def _table(player: Player) -> Table:
    table = Table('topic', 'published', 'late p50 [ms]', 'late p99 [ms]', 'late max [ms]')
    for report in player.published.values():
        table.add_row(report.topic, str(report.count), *(
            f'{report.late_ms(percent):.2f}' for percent in (50, 99, 100)))
    return table
