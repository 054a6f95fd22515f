"""
What the inference node says of itself: ``policy_info`` and its entry in ``/diagnostics``.

Turns the runner's state into words and numbers; decides nothing.
"""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.nodes.diagnostics import Finding, OK, status_msg, WARN
from chunked_vla_ros.policies.runner import PolicyRunner

# Below this share of the contract's rate a stream is worth a warning.
RATE_SHARE = 0.8


def policy_info(runner: PolicyRunner, robot: RobotSpec) -> DiagnosticStatus:
    """Return which policy is in force and what it is doing."""
    spec, run = runner.spec, runner.run
    return status_msg('policy', robot.name, Finding(
        OK, f'running: {run.task or "no instruction"}' if run else 'idle', {
            'policy_id': spec.policy_id, 'horizon': spec.horizon, 'step_s': spec.step_s,
            'joint_names': ' '.join(spec.joint_names), 'cameras': ' '.join(spec.cameras),
            'needs_instruction': spec.needs_instruction, 'needs_scene': spec.needs_scene,
            'session_id': run.session_id if run else '',
            'policy_epoch': runner.policy_epoch, 'task': run.task if run else ''}))


def finding(runner: PolicyRunner, robot: RobotSpec, now_ns: int, tick_s: float) -> Finding:
    """Return level, one line and every measured value; ``tick_s`` is the runner's period."""
    counts, run = runner.statistics, runner.run
    slow = [name for name, (found, expected) in _rates(runner, robot, now_ns).items()
            if found < RATE_SHARE * expected]
    state = f'running {run.session_id[:8]}, chunk {run.next_chunk_id}' if run else 'idle'
    if runner.waiting:
        level, message = WARN, f'{state}, waiting: {runner.waiting}'
    elif slow:
        level, message = WARN, f'{state}, slow: {", ".join(slow)}'
    else:
        level, message = OK, state
    values: dict[str, object] = {
        'runs': counts.runs, 'chunks': counts.chunks, 'policy_epoch': runner.policy_epoch,
        'budget_misses': counts.budget_misses, 'late_answers': counts.late_answers,
        'last_error': counts.last_error}
    if counts.latencies_ns:
        for percent in (50, 99):
            values[f'inference_latency_p{percent}_ms'] = (
                f'{percentile(counts.latencies_ns, percent) / 1e6:.1f}')
    for reason, count in counts.blocked.items():
        values[f'blocked: {reason}'] = count
    for stream, ticks in counts.waits.items():
        values[f'waited for {stream} [s]'] = f'{ticks * tick_s:.2f}'
    values.update(_stream_values(runner, robot, now_ns))
    return Finding(level, message, values)


def _rates(runner: PolicyRunner, robot: RobotSpec, now_ns: int) -> dict[str, tuple[float, float]]:
    """Return found and expected rate in [Hz] of every stream of the contract."""
    assembler = runner.assembler
    rates = {assembler.joints.name: (
        assembler.joints.meter.rate_hz(now_ns), robot.state.rate_hz)}
    for camera in robot.cameras:
        stream = assembler.cameras[camera.name]
        rates[stream.name] = stream.meter.rate_hz(now_ns), camera.stream.rate_hz
    return rates


def _stream_values(runner: PolicyRunner, robot: RobotSpec, now_ns: int) -> dict[str, object]:
    values: dict[str, object] = {
        f'rate {name}': f'{found:.1f} of {expected:g} Hz'
        for name, (found, expected) in _rates(runner, robot, now_ns).items()}
    for stream in runner.assembler.streams:
        if stream.refused:
            values[f'refused {stream.name}'] = stream.refused
        if stream.last_refusal:
            values[f'last refusal {stream.name}'] = stream.last_refusal
    return values
