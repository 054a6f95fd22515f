"""
The train graph: the offline trainer, at once with a job where bags are named.

The one description that ``launch/train.launch.py`` and ``chunked-vla up train`` share. Knows
nothing about bags or datasets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chunked_vla_ros.graph.deploy import (
    absolute_if_path,
    check_shared,
    LOG_LEVELS,
    shared_settings,
)
from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec, ParameterValue
from chunked_vla_ros.graph.options import entries, option


@dataclass(frozen=True)
class TrainOptions:
    """Start the offline trainer; with bags and a dataset it converts them at once."""

    bags: str = option(
        '', 'bags, or folders of recorded episodes, separated by commas; empty: wait for the '
        'action offline_trainer/train_policy')
    dataset: str = option('', 'folder of the dataset that is made of them')
    robot: str = option('ur5e_sim', 'robot contract: a name from config/robots or a path')
    append: bool = option(False, 'add the episodes to the dataset that is there')
    options: str = option(
        '', 'further options of `chunked-vla convert`, separated by commas, for example fps=20')
    namespace: str = option('', 'namespace of the node')
    params_file: str = option(
        '', 'parameter file, over config/trainer.yaml and under these arguments')
    autostart: bool = option(
        True, 'the node configures and activates itself; false leaves it to a lifecycle manager')
    log_level: str = option('info', f'one of {", ".join(LOG_LEVELS)}')

    def __post_init__(self) -> None:
        check_shared(self)
        if bool(self.bags) != bool(self.dataset):
            raise GraphError(
                'bags and dataset belong together: name what is converted and where it goes')
        absent = [bag for bag in entries(self.bags) if not Path(bag).expanduser().exists()]
        if absent:
            raise GraphError(
                f'{absent[0]}: does not exist, expected a bag or a folder of episodes')


def train_graph(options: TrainOptions) -> tuple[NodeSpec, ...]:
    """Return the graph's one node."""
    named: dict[str, ParameterValue] = {
        'bags': tuple(str(Path(bag).expanduser().resolve()) for bag in entries(options.bags)),
        'dataset': str(Path(options.dataset).expanduser().absolute()) if options.dataset else '',
        'options': entries(options.options), 'append': options.append}
    return (NodeSpec(
        executable='offline_trainer_node', name='offline_trainer', required=True,
        **shared_settings(options, 'trainer'), parameters={
            'robot': absolute_if_path(options.robot), 'autostart': options.autostart,
            # What is not named is left to the parameter files.
            **{name: value for name, value in named.items() if value}}),)
