"""Options of ``chunked-vla play``; knows neither datasets nor ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

Topic = Literal['joint_states', 'cameras', 'trajectory']
# Nobody drives an arm from this name; `joint_trajectory_in` would.
SAFE_TRAJECTORY_TOPIC = 'demonstration/joint_trajectory'


@dataclass(frozen=True)
class PlayOptions:
    """Publish a dataset's episodes as stamped ROS topics."""

    dataset: Annotated[Path, tyro.conf.Positional] = field(metadata={
        'doc': 'directory of a LeRobot dataset (v2.1, v3), or Franka .npy recording(s)'})
    episode: tuple[int, ...] = field(default=(), metadata={
        'doc': 'numbers of the episodes, default: all that there are'})
    robot: str = field(default='', metadata={
        'doc': 'robot contract whose joint names and camera topics to use'})
    rate: float = field(default=1.0, metadata={
        'doc': 'speed, 2 is twice as fast; stamps follow it'})
    loop: bool = field(default=False, metadata={'doc': 'play again and again, until Ctrl-C'})
    namespace: str = field(default='', metadata={'doc': 'ROS namespace of the topics'})
    topics: tuple[Topic, ...] = field(default=('joint_states', 'cameras'), metadata={
        'doc': 'what to publish; trajectory is the recorded command'})
    trajectory_topic: str = field(default=SAFE_TRAJECTORY_TOPIC, metadata={
        'doc': 'where the command goes, one point per message: for recorders and plots. '
        'To drive an arm by a recording: chunked-vla up deploy --policy replay'})
    wait_for_subscribers: float = field(default=0.0, metadata={
        'doc': 'wait up to so many seconds until every topic has its subscribers'})
    subscribers: int = field(default=1, metadata={
        'doc': 'how many subscribers of every topic to wait for'})
