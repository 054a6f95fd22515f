"""
Judge a running graph by what arrives: received against expected rates, loss, modes.

No graph is no fault: the doctor is also asked before anything runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.doctor.finding import Finding, Level
from chunked_vla_ros.graph.transport import PROFILE_VARIABLE, transport_environment

if TYPE_CHECKING:
    from chunked_vla_ros.nodes.rate_probe import GraphSample, StreamCount

# Below this share of the expected rate a stream is too slow; above this share of loss, too lossy.
RATE_SHARE_NEEDED = 0.8
LOSS_SHARE_ALLOWED = 0.02
EXECUTOR_STATE_HZ = 10.0


def check_graph(robot: RobotSpec, namespace: str, listen_s: float) -> list[Finding]:
    """Listen to the graph of ``robot`` and judge what was heard."""
    # The receiver's transport counts as much as the sender's.
    os.environ.update(transport_environment())
    from chunked_vla_ros.nodes.rate_probe import listen
    return judge(robot, listen(robot, namespace, listen_s))


def judge(robot: RobotSpec, sample: GraphSample) -> list[Finding]:
    """Return one finding for each stream and node of ``sample``."""
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    if not any(count.publishers for count in sample.streams.values()):
        return [Finding(
            Level.INFO, 'graph', f'no graph running in ROS domain {domain}',
            'chunked-vla up deploy, and ask again from another terminal')]
    expected = {
        robot.state.topic: robot.state.rate_hz, 'executor_state': EXECUTOR_STATE_HZ,
        **{camera.stream.topic: camera.stream.rate_hz for camera in robot.cameras}}
    findings = [_stream(topic, count, expected[topic], sample.listened_s)
                for topic, count in sample.streams.items()]
    findings += [_managed(name, state) for name, state in sample.lifecycle.items()]
    if sample.executor:
        findings.append(_mode(sample.executor))
    return findings


def _stream(topic: str, count: StreamCount, expected_hz: float, listened_s: float) -> Finding:
    if not count.publishers:
        return Finding(Level.WARN, topic, 'nobody publishes it',
                       'start the node that does, or name its topic in the robot contract')
    rate_hz = count.received / listened_s
    lost = 1.0 - count.received / count.published if count.published else 0.0
    found = f'{rate_hz:.0f} Hz received, {expected_hz:.0f} expected, {lost:.0%} lost'
    if lost > LOSS_SHARE_ALLOWED:
        return Finding(Level.WARN, topic, found,
                       f'set {PROFILE_VARIABLE} for the sender too, see DDS profile above')
    if rate_hz < RATE_SHARE_NEEDED * expected_hz:
        return Finding(Level.WARN, topic, found,
                       'the sender is too slow: look at its load and at /diagnostics')
    return Finding(Level.OK, topic, found)


def _managed(name: str, state: str) -> Finding:
    if state == 'active':
        return Finding(Level.OK, name, state)
    return Finding(Level.WARN, name, f'{state}, does not act',
                   f'ros2 lifecycle set /{name} configure, then activate; or autostart:=true')


def _mode(mode: str) -> Finding:
    if mode.startswith(('FAULT', 'ESTOP')):
        return Finding(Level.WARN, 'executor mode', mode,
                       'find the cause, then call chunk_executor/reset')
    return Finding(Level.OK, 'executor mode', mode)
