"""
The record graph: the deploy graph, somebody who demonstrates, and the recorder.

The one description that ``launch/record.launch.py``, ``chunked-vla up record`` and
``chunked-vla record`` share. Knows nothing about episodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from chunked_vla_ros.graph.deploy import (
    absolute_if_path,
    deploy_graph,
    DeployOptions,
    POLICIES,
    shared_settings,
)
from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec, ParameterValue
from chunked_vla_ros.graph.options import entries, option

NOBODY = 'none'
OTHER = 'other'
# Held equal to what teleop_node knows by a test: nothing of it is imported here.
HANDS = ('keyboard', 'joy', 'leader')
# Likewise what the simulator's expert knows.
QUALITIES = ('even', 'mixed', 'varying')


@dataclass(frozen=True)
class RecordOptions(DeployOptions):
    """Start a robot (simulated or real), the executor, who demonstrates, and the recorder."""

    policies: ClassVar[tuple[str, ...]] = (NOBODY, *POLICIES)

    policy: str = option(
        NOBODY, 'policy that drives: none, onnx, replay or expert (simulator only); with a hand '
        'too, a person can take over and give back')
    hand: str = option(
        'keyboard', f'what a person drives with: {", ".join(HANDS)}; other for another node that '
        'sends targets, such as teleop_node in a terminal of its own; none for a policy alone')
    out: str = option('out/episodes', 'folder of the episodes, made where it is missing')
    task: str = option('', 'the task, unless the topic instruction names one')
    operator: str = option('', 'who demonstrates')
    topics: str = option('', "topics besides the robot contract's, separated by commas")
    compression: str = option(
        '', 'how images are kept, by camera, for example front=jpeg:90,wrist=png')
    expert_noise: float = option(
        0.0, 'how imperfect policy expert is, 0 to 1; 1: 0.05 rad at every joint')
    expert_pushes_per_minute: float = option(
        0.0, 'how often policy expert is pushed aside, to recover')
    expert_quality: str = option(
        QUALITIES[0], 'how well policy expert demonstrates; even: always well; mixed: one episode '
        'better than the other, in speed and precision, with slips and wanders; varying: the '
        'same changes every second or so')
    expert_seed: int = option(0, 'seed of what disturbs policy expert')
    run_on_activate: bool = option(
        False, 'the policy starts once it observes; false waits for the action run_policy')

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hand not in (*HANDS, OTHER, NOBODY):
            raise GraphError(
                f'hand {self.hand!r}, expected one of {", ".join((*HANDS, OTHER, NOBODY))}')
        if self.hand == self.policy == NOBODY:
            raise GraphError(
                f'nobody demonstrates: choose a hand ({", ".join((*HANDS, OTHER))}) or a policy')
        for name, highest in (('expert_noise', 1.0), ('expert_pushes_per_minute', 60.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= highest:
                raise GraphError(f'{name} is {value:g}, expected 0 to {highest:g}')
            if value and self.policy != 'expert':
                raise GraphError(f'{name} is {value:g}, but the policy is {self.policy}, not '
                                 'expert')
        if self.expert_quality not in QUALITIES:
            raise GraphError(f'expert_quality is {self.expert_quality!r}, expected one of '
                             f'{", ".join(QUALITIES)}')
        if self.expert_quality != QUALITIES[0] and self.policy != 'expert':
            raise GraphError(f'expert_quality is {self.expert_quality}, but the policy is '
                             f'{self.policy}, not expert')
        if not 0 <= self.expert_seed < 2**31:
            raise GraphError(f'expert_seed is {self.expert_seed}, expected 0 to {2**31 - 1}')
        if not self.out:
            raise GraphError('out is empty: name the folder of the episodes')


def record_graph(options: RecordOptions) -> tuple[NodeSpec, ...]:
    """Return the graph's nodes in the order in which they start."""
    specs = [_with_dials(spec, options) for spec in deploy_graph(options)
             if spec.name != 'inference' or options.policy != NOBODY]
    managed: dict[str, ParameterValue] = {
        'use_sim_time': options.use_sim_time, 'robot': absolute_if_path(options.robot),
        'autostart': options.autostart}
    if options.hand in HANDS:
        specs.append(NodeSpec(
            executable='teleop_node', name='teleop', respawn=True,
            keys=options.hand == 'keyboard',
            **shared_settings(options, 'teleop'), parameters={
                **managed, 'hand': options.hand,
                # Without a policy nobody else is there to drive.
                'take_over_on_activate': options.policy == NOBODY}))
    specs.append(NodeSpec(
        executable='recorder_node', name='recorder', respawn=True,
        **shared_settings(options, 'recorder'), parameters={**managed, **_wishes(options)}))
    return tuple(specs)


def _with_dials(spec: NodeSpec, options: RecordOptions) -> NodeSpec:
    if spec.name != 'inference':
        return spec
    return replace(spec, parameters={
        **spec.parameters, 'expert_noise': options.expert_noise,
        'expert_pushes_per_minute': options.expert_pushes_per_minute,
        'expert_quality': options.expert_quality,
        'expert_seed': options.expert_seed})


def _wishes(options: RecordOptions) -> dict[str, ParameterValue]:
    """Return the recorder's own parameters; what is not named is left to the parameter files."""
    named: dict[str, ParameterValue] = {
        'task': options.task, 'operator': options.operator,
        'topics': entries(options.topics), 'compression': entries(options.compression)}
    return {'out': str(Path(options.out).expanduser().absolute()),
            **{name: value for name, value in named.items() if value}}
