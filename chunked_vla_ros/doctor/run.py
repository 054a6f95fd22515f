"""
``chunked-vla doctor``: look at everything, print one line each, exit 1 if something is broken.

With ``--json`` the same findings are written for programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
import json
from pathlib import Path
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from chunked_vla_ros.data.robot_contract import ContractError, load_robot
from chunked_vla_ros.doctor.finding import Finding, Level
from chunked_vla_ros.doctor.machine import (
    check_cores,
    check_python,
    check_rendering,
    check_shared_memory,
)
from chunked_vla_ros.doctor.middleware import check_interfaces, check_ros, check_transport
from chunked_vla_ros.doctor.model_runtime import check_model_runtime
from chunked_vla_ros.doctor.running_graph import check_graph
from chunked_vla_ros.doctor.training_runtime import check_accelerate, check_torch
from chunked_vla_ros.graph.node_spec import NAMESPACE, USAGE_EXIT_CODE

COLOURS = {Level.OK: 'green', Level.INFO: 'cyan', Level.WARN: 'yellow', Level.BROKEN: 'red'}


def _option(default: Any, doc: str) -> Any:
    return field(default=default, metadata={'doc': doc})


@dataclass(frozen=True)
class DoctorOptions:
    """Look at Python, ROS 2, transport, rendering, onnxruntime, torch and at a running graph."""

    robot: str = _option('ur5e_sim', 'robot contract that names the expected streams and rates')
    namespace: str = _option('', 'namespace of the running graph')
    listen_s: float = _option(3.0, 'how long to listen to a running graph in [s]')
    json: str = _option('', 'file to write the findings to')


def run_doctor(options: DoctorOptions) -> int:
    """Print every finding; return 0, or 1 if something is broken, or 2 after a user's mistake."""
    mistake = _mistake(options)
    if mistake:
        print(f'error: {mistake}', file=sys.stderr)
        return USAGE_EXIT_CODE
    try:
        findings = examine(options)
        if options.json:
            Path(options.json).write_text(as_json(findings))
    except (ContractError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return USAGE_EXIT_CODE
    Console(soft_wrap=True, highlight=False).print(as_lines(findings))
    return exit_code(findings)


def examine(options: DoctorOptions) -> list[Finding]:
    """Return every finding, cause before consequence."""
    robot = load_robot(options.robot)
    findings = [check_python(), check_cores(), check_shared_memory(), check_rendering(),
                check_model_runtime(), check_torch(), check_accelerate(), check_ros(),
                check_interfaces(), check_transport()]
    broken = {finding.subject for finding in findings if finding.level is Level.BROKEN}
    if broken & {'ROS 2', 'interfaces'}:    # nothing to listen with
        return findings
    return findings + check_graph(robot, options.namespace, options.listen_s)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if something is broken."""
    return int(any(finding.level is Level.BROKEN for finding in findings))


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON document."""
    records = [{**asdict(finding), 'level': finding.level.value} for finding in findings]
    return json.dumps({'ok': exit_code(findings) == 0, 'findings': records}, indent=2) + '\n'


def as_lines(findings: Sequence[Finding]) -> str:
    """Return the findings for a terminal, with rich's colours; a remedy on a line of its own."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        colour = COLOURS[finding.level]
        level = f'[{colour}]{finding.level.value:<6}[/{colour}]'
        lines.append(f'{level}  {escape(f"{finding.subject:<{width}}  {finding.found}")}')
        if finding.remedy:
            lines.append(f'{"":<8}{"":<{width}}  [dim]remedy:[/dim] {escape(finding.remedy)}')
    return '\n'.join(lines)


def _mistake(options: DoctorOptions) -> str:
    if not 0.1 <= options.listen_s <= 600.0:
        return f'--listen-s is {options.listen_s:g}, expected 0.1 to 600'
    if options.namespace and not NAMESPACE.fullmatch(options.namespace):
        return f'--namespace is {options.namespace!r}, expected names separated by /'
    return ''
