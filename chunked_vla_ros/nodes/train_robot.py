"""
Which robot contract a job is of that names none: the trainer's own, or that of its configuration.

Reads of a training's configuration only its robot; the training judges the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from chunked_vla_ros.core.training_job import JobRefused, Stage
from chunked_vla_ros.graph.installation import shared_file

# For bags that become a dataset and nothing more, where nobody names a contract.
CONVERT_ROBOT = 'ur5e_sim'


def robot_of(bags: Sequence[str], robot: str, stage: Stage, config: str) -> str:
    """
    Return the contract of a job that names none; '' leaves it to the training.

    :param robot: The trainer's own, '' for none.
    :raises JobRefused: bags are to be converted for a configuration that cannot be read or names
        no robot.
    """
    if robot or not any(bags):
        return robot
    return CONVERT_ROBOT if stage is Stage.CONVERT else _robot_in(config)


def _robot_in(config: str) -> str:
    path = Path(config)
    by_path = path.suffix in ('.yaml', '.yml') or path.parent != Path()
    file = path if by_path else shared_file(f'config/train/{config}.yaml')
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8')) if file else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    robot = content.get('robot') if isinstance(content, dict) else None
    if not (isinstance(robot, str) and robot):
        raise JobRefused(f'robot is empty, and the training configuration {config!r} tells none: '
                         'name a robot contract')
    return robot
