"""
What the inference node says of itself: ``policy_info`` and its entry in ``/diagnostics``.

Turns the runner's state into words and numbers; decides nothing.
"""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.nodes.diagnostics import Finding, OK, status_msg, WARN
from chunked_vla_ros.nodes.stream_report import stream_problems, stream_values
from chunked_vla_ros.policies.runner import PolicyRunner


def policy_info(runner: PolicyRunner, robot: RobotSpec) -> DiagnosticStatus:
    """Return which policy is in force and what it is doing."""
    spec, run = runner.spec, runner.run
    return status_msg('policy', robot.name, Finding(
        OK, f'running: {run.task or "no instruction"}' if run else 'idle', {
            'policy_id': spec.policy_id, 'horizon': spec.horizon, 'step_s': spec.step_s,
            'joint_names': ' '.join(spec.joint_names), 'cameras': ' '.join(spec.cameras),
            'needs_instruction': spec.needs_instruction, 'needs_scene': spec.needs_scene,
            'session_id': run.session_id if run else '',
            'policy_epoch': runner.policy_epoch, 'task': run.task if run else '',
            **_provider(runner), **getattr(runner.exchange.in_force, 'facts', {})}))


def _provider(runner: PolicyRunner) -> dict[str, object]:
    """Return where the policy runs, if it runs on a provider, and why not on the one wished."""
    found = {'provider': getattr(runner.exchange.in_force, 'provider', ''),
             'provider_note': getattr(runner.exchange.in_force, 'provider_note', '')}
    return {name: value for name, value in found.items() if value}


def _policy_problems(runner: PolicyRunner) -> list[str]:
    """Return what of the policy is worth a warning."""
    counts, horizon_s = runner.statistics, runner.spec.horizon * runner.spec.step_s
    problems = []
    if counts.over_budget:
        problems.append(f'inference took {counts.latencies_ns[-1] / NS_PER_S:.2f} s, longer than '
                        f'its horizon of {horizon_s:.2f} s ({counts.budget_misses} times)')
    note = getattr(runner.exchange.in_force, 'provider_note', '')
    return [*problems, note] if note else problems


def finding(runner: PolicyRunner, robot: RobotSpec, now_ns: int, tick_s: float) -> Finding:
    """Return level, one line and every measured value; ``tick_s`` is the runner's period."""
    counts, run = runner.statistics, runner.run
    problems = [*_policy_problems(runner), *stream_problems(runner.assembler, robot, now_ns)]
    state = f'running {run.session_id[:8]}, chunk {run.next_chunk_id}' if run else 'idle'
    if runner.waiting:
        level, message = WARN, f'{state}, waiting: {runner.waiting}'
    elif problems:
        level, message = WARN, f'{state}, {"; ".join(problems)}'
    else:
        level, message = OK, state
    values: dict[str, object] = {
        'policy_id': runner.spec.policy_id, **_provider(runner), 'exchanges': counts.exchanges,
        'rollbacks': counts.rollbacks, 'runs': counts.runs, 'chunks': counts.chunks,
        'policy_epoch': runner.policy_epoch, 'budget_misses': counts.budget_misses,
        'late_answers': counts.late_answers, 'last_error': counts.last_error}
    if counts.latencies_ns:
        for percent in (50, 99):
            values[f'inference_latency_p{percent}_ms'] = (
                f'{percentile(counts.latencies_ns, percent) / 1e6:.1f}')
    for reason, count in counts.blocked.items():
        values[f'blocked: {reason}'] = count
    for stream, ticks in counts.waits.items():
        values[f'waited for {stream} [s]'] = f'{ticks * tick_s:.2f}'
    values.update(stream_values(runner.assembler, robot, now_ns))
    return Finding(level, message, values)
