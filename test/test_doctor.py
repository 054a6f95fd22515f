"""The doctor: what is a fault, what is not, and that every fault names its remedy."""

from collections.abc import Callable
import json
from pathlib import Path
import subprocess
import sys

import pytest

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.doctor import training_runtime
from chunked_vla_ros.doctor.finding import Finding, Level
from chunked_vla_ros.doctor.machine import check_cores, check_python, check_shared_memory
from chunked_vla_ros.doctor.middleware import (
    check_interfaces,
    check_ros,
    check_transport,
    source_fields,
)
from chunked_vla_ros.doctor.model_runtime import check_model_runtime
from chunked_vla_ros.doctor.run import as_json, as_lines, DoctorOptions, exit_code, run_doctor
from chunked_vla_ros.doctor.running_graph import judge
from chunked_vla_ros.doctor.training_runtime import check_accelerate, check_torch, TorchBuild
from chunked_vla_ros.graph.installation import shared_file
from chunked_vla_ros.graph.transport import PROFILE, PROFILE_VARIABLE
from chunked_vla_ros.nodes.rate_probe import GraphSample, StreamCount

ROBOT = load_robot('ur5e_sim')
FRONT, WRIST = (camera.stream.topic for camera in ROBOT.cameras)


def sample(**changed: StreamCount) -> GraphSample:
    """Return two seconds of a graph in which everything arrives, but for ``changed``."""
    streams = {
        'joint_states': StreamCount(1, 250, 250), FRONT: StreamCount(1, 40, 40),
        WRIST: StreamCount(1, 40, 40), 'executor_state': StreamCount(1, 100, 100)}
    streams.update({{'front': FRONT}.get(name, name): count for name, count in changed.items()})
    return GraphSample(2.0, streams, {'inference': 'active'}, 'RUNNING: following a chunk')


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_a_healthy_graph_has_no_finding_above_ok() -> None:
    findings = judge(ROBOT, sample())
    assert {finding.level for finding in findings} == {Level.OK}
    assert by_subject(findings)['joint_states'].found == '125 Hz received, 125 expected, 0% lost'


def test_a_stream_below_four_fifths_of_its_rate_is_too_slow() -> None:
    # 31 of 40 frames in two seconds: 15.5 Hz of 20; 33 are 16.5 Hz.
    slow, fast = (by_subject(judge(ROBOT, sample(front=StreamCount(1, frames, frames))))[FRONT]
                  for frames in (31, 33))
    assert (slow.level, fast.level) == (Level.WARN, Level.OK)


def test_lost_messages_point_to_the_transport() -> None:
    finding = by_subject(judge(ROBOT, sample(front=StreamCount(1, 38, 40))))[FRONT]
    assert finding.level is Level.WARN
    assert '5% lost' in finding.found
    assert PROFILE_VARIABLE in finding.remedy


def test_a_stream_that_nobody_publishes_is_named() -> None:
    finding = by_subject(judge(ROBOT, sample(front=StreamCount(0, 0, 0))))[FRONT]
    assert (finding.level, finding.found) == (Level.WARN, 'nobody publishes it')


def test_no_graph_is_information_and_not_a_fault() -> None:
    silent = GraphSample(2.0, dict.fromkeys(sample().streams, StreamCount()))
    (finding,) = judge(ROBOT, silent)
    assert finding.level is Level.INFO
    assert finding.found.startswith('no graph running in ROS domain')


@pytest.mark.parametrize(('state', 'mode', 'subject'), [
    ('inactive', 'HOLD: holding', 'inference'), ('active', 'ESTOP: button', 'executor mode')])
def test_a_node_that_does_not_act_is_named(state: str, mode: str, subject: str) -> None:
    graph = GraphSample(2.0, sample().streams, {'inference': state}, mode)
    warned = [finding.subject for finding in judge(ROBOT, graph) if finding.level is Level.WARN]
    assert warned == [subject]


@pytest.mark.parametrize(('check', 'level'), [
    (lambda: check_python((3, 9)), Level.BROKEN), (lambda: check_python((3, 13)), Level.BROKEN),
    (lambda: check_python((3, 10)), Level.OK), (lambda: check_python((3, 12)), Level.OK),
    (lambda: check_cores(1), Level.WARN), (lambda: check_cores(2), Level.OK),
    (lambda: check_shared_memory(47_000_000), Level.WARN),
    (lambda: check_shared_memory(64_000_000), Level.OK)])
def test_the_machine_is_compared_with_what_is_needed(
        check: Callable[[], Finding], level: Level) -> None:
    assert check().level is level


def test_a_finding_that_asks_for_action_names_it() -> None:
    with pytest.raises(ValueError, match="finding 'cores' names no remedy"):
        Finding(Level.WARN, 'cores', '1')


def test_ros_and_the_built_interfaces_of_this_environment_are_found() -> None:
    assert check_ros().level is Level.OK
    assert check_interfaces().level is Level.OK


@pytest.mark.parametrize(('environment', 'level', 'found'), [
    ({}, Level.WARN, 'set ours for their nodes'),
    ({'FASTDDS_DEFAULT_PROFILES_FILE': '/x.xml'}, Level.WARN, 'which Jazzy ignores'),
    ({PROFILE_VARIABLE: '/nowhere.xml'}, Level.BROKEN, '/nowhere.xml does not exist'),
    ({PROFILE_VARIABLE: __file__}, Level.WARN, 'not ours'),
    ({PROFILE_VARIABLE: str(shared_file(PROFILE))}, Level.OK, 'ours'),
    ({'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp'}, Level.INFO, 'does not apply')])
def test_the_profile_in_force_is_told_apart(
        environment: dict[str, str], level: Level, found: str) -> None:
    finding = check_transport(environment)
    assert finding.level is level
    assert found in finding.found


@pytest.mark.parametrize(('distributions', 'providers', 'level', 'found'), [
    (['onnxruntime'], ['AzureExecutionProvider', 'CPUExecutionProvider'], Level.OK,
     'onnxruntime with CPU'),
    (['onnxruntime-gpu'], ['CPUExecutionProvider', 'CUDAExecutionProvider'], Level.OK,
     'onnxruntime-gpu with CUDA, CPU'),
    (['onnxruntime', 'onnxruntime-gpu'], None, Level.BROKEN,
     'installed on top of each other: onnxruntime, onnxruntime-gpu'),
    ([], None, Level.INFO, 'not installed: policy bundles cannot be run here')])
def test_the_runtime_of_policy_bundles_is_installed_once_or_not_at_all(
        distributions: list[str], providers: list[str] | None, level: Level, found: str) -> None:
    finding = check_model_runtime(distributions, providers)
    assert (finding.level, finding.found) == (level, found)
    assert level is Level.OK or 'requirements/cpu.txt' in finding.remedy


def test_the_runtime_of_this_environment_is_found() -> None:
    assert check_model_runtime().level in (Level.OK, Level.INFO)


@pytest.mark.parametrize(('build', 'driver', 'level', 'found', 'remedy'), [
    (TorchBuild('2.13.0+cpu'), False, Level.OK, '2.13.0+cpu, trains on the CPU', ''),
    (TorchBuild('2.13.0+cpu'), True, Level.WARN, 'without CUDA, though there is a GPU',
     'torch==2.13.0, from PyPI'),
    (TorchBuild('2.13.0', '13.0'), False, Level.OK, 'trains on the CPU', ''),
    (TorchBuild('2.13.0', '13.0'), True, Level.WARN, 'CUDA 13.0 does not start', 'nvidia-smi'),
    (TorchBuild('2.13.0', '13.0', 'H100'), True, Level.OK, '2.13.0, CUDA 13.0 on H100', '')])
def test_a_torch_that_leaves_the_gpu_idle_is_told_with_its_remedy(
        build: TorchBuild, driver: bool, level: Level, found: str, remedy: str) -> None:
    finding = check_torch(build, driver)
    assert finding.level is level
    assert found in finding.found
    assert remedy in finding.remedy


def test_without_torch_policies_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_runtime, 'installed', {}.get)
    for finding in (check_torch(), check_accelerate()):
        assert finding.level is Level.INFO
        assert finding.remedy == 'pip install -r requirements/train.txt'


def test_accelerate_is_missed_where_torch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_runtime, 'installed', {'torch': '2.13.0'}.get)
    assert check_accelerate().level is Level.WARN


def test_a_damaged_torch_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_runtime, 'installed', lambda _: '2.13.0')
    monkeypatch.setitem(sys.modules, 'torch', None)
    finding = check_torch()
    assert finding.level is Level.BROKEN
    assert '\n' not in finding.found


def test_fields_of_an_interface_are_told_from_constants_and_comments() -> None:
    text = 'uint8 MODE_A=0  # a constant\nuint8 mode  # MODE_*\nstring<=8 name\n---\nbool ok\n---'
    assert source_fields(text) == [('mode', 'name'), ('ok',), ()]


def test_only_something_broken_makes_the_exit_code_1() -> None:
    warned = Finding(Level.WARN, 'cores', '1', 'buy another')
    broken = Finding(Level.BROKEN, 'ROS 2', 'absent', 'make setup')
    assert exit_code([warned]) == 0
    assert exit_code([warned, broken]) == 1
    assert json.loads(as_json([broken])) == {'ok': False, 'findings': [
        {'level': 'broken', 'subject': 'ROS 2', 'found': 'absent', 'remedy': 'make setup'}]}


def test_text_from_outside_is_shown_as_it_is() -> None:
    assert r'\[bold]' in as_lines([Finding(Level.OK, 'path', '/tmp/[bold]')])


def test_the_whole_doctor_examines_this_machine(tmp_path: Path) -> None:
    """The rendering check needs EGL; its absence is a finding of the doctor, not of this test."""
    report = tmp_path / 'doctor.json'
    result = subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', 'doctor', '--listen-s', '0.2',
         '--json', str(report)], capture_output=True, text=True, check=False, timeout=100.0)
    findings = {found['subject']: found for found in json.loads(report.read_text())['findings']}
    assert {'Python', 'cores', 'rendering', 'ROS 2', 'interfaces', 'DDS profile', 'torch',
            'accelerate'} <= set(findings)
    broken = [found for found in findings.values() if found['level'] == 'broken']
    assert result.returncode == int(bool(broken)), result.stderr


def test_a_report_that_cannot_be_written_is_a_mistake(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('chunked_vla_ros.doctor.run.examine', lambda options: [])
    assert run_doctor(DoctorOptions(json=str(tmp_path / 'absent' / 'file.json'))) == 2
    assert 'No such file or directory' in capsys.readouterr().err
