"""
The train graph: the offline trainer, at once with a job where bags or a training are named.

The one description that ``launch/train.launch.py`` and ``chunked-vla up train`` share. Knows
nothing about bags, datasets or policies.
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

# More than the node itself gives a training for its step and a checkpoint (nodes.train_process).
STOP_PATIENCE_S = 200.0


@dataclass(frozen=True)
class TrainOptions:
    """Start the offline trainer; with bags it converts at once, with `out` it trains."""

    bags: str = option(
        '', 'bags, or folders of recorded episodes, separated by commas; empty: wait for the '
        'action offline_trainer/train_policy')
    dataset: str = option(
        '', 'folder of the dataset that is made of them; without bags, of one to learn from')
    start_from: str = option(
        '', 'checkpoint, or training, of imitation that offline RL begins at; empty: imitation')
    datasets: str = option('', 'further datasets to learn from, separated by commas')
    out: str = option(
        '', 'folder of a training, which is begun or gone on with; empty: no training')
    bundle: str = option(
        '', 'folder of the policy bundle that comes of it; empty: bundle in the folder out')
    config: str = option('', 'training configuration, a name from config/train or a path; '
                         'empty: compact')
    train_options: str = option(
        '', 'settings over those of the training configuration, separated by commas, for example '
        'steps=2000')
    robot: str = option(
        '', 'robot contract: a name from config/robots or a path; empty: that of the training '
        'configuration, or of a conversion alone ur5e_sim')
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
        # What is not named here may be in a parameter file.
        elsewhere = bool(self.params_file)
        if self.bags and not (self.dataset or elsewhere):
            raise GraphError('dataset is empty: name the folder of the dataset that bags become')
        trains = (self.out or self.datasets or self.bundle or self.train_options
                  or self.start_from)
        if self.dataset and not (self.bags or trains or elsewhere):
            raise GraphError('dataset alone asks for nothing: name bags that become it, or out, '
                             'the folder of a training that learns from it')
        if trains and not (self.out or elsewhere):
            raise GraphError('out is empty: name the folder of the training')
        if trains and not (self.dataset or self.datasets or elsewhere):
            raise GraphError('dataset is empty: name the dataset that the training learns from')
        _check_inputs(self)


def _check_inputs(options: TrainOptions) -> None:
    """Raise a GraphError that names the first input that is not there."""
    learnt_from = () if options.bags else entries(options.dataset)
    for texts, what in ((entries(options.bags), 'a bag or a folder of episodes'),
                        ((*learnt_from, *entries(options.datasets)), 'a dataset'),
                        (filter(None, [options.start_from]), 'a checkpoint of imitation')):
        for text in texts:
            if not Path(text).expanduser().exists():
                raise GraphError(f'{text}: does not exist, expected {what}')


def train_graph(options: TrainOptions) -> tuple[NodeSpec, ...]:
    """Return the graph's one node."""
    named: dict[str, ParameterValue] = {
        'bags': tuple(map(_resolved, entries(options.bags))),
        'datasets': tuple(map(_resolved, entries(options.datasets))),
        **{name: str(Path(text).expanduser().absolute()) if text else ''
           for name, text in (('dataset', options.dataset), ('out', options.out),
                              ('bundle', options.bundle), ('start_from', options.start_from))},
        'robot': absolute_if_path(options.robot), 'config': absolute_if_path(options.config),
        'options': entries(options.options), 'train_options': entries(options.train_options),
        'append': options.append}
    return (NodeSpec(
        executable='offline_trainer_node', name='offline_trainer', required=True,
        stop_patience_s=STOP_PATIENCE_S, **shared_settings(options, 'trainer'), parameters={
            'autostart': options.autostart,
            # What is not named is left to the parameter files.
            **{name: value for name, value in named.items() if value}}),)


def _resolved(text: str) -> str:
    return str(Path(text).expanduser().resolve())
