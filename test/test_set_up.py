"""The set-up's decisions: which ROS is used, what is missing, when a stage is due."""

import importlib
import json
from pathlib import Path
import sys
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture
def preflight() -> ModuleType:
    return importlib.import_module('preflight')


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module with its environment in an empty folder."""
    module = importlib.import_module('set_up')
    venv = tmp_path / '.venv'
    (venv / 'bin').mkdir(parents=True)
    for name, value in (('VENV', venv), ('VENV_PYTHON', venv / 'bin' / 'python'),
                        ('PACKAGES_MARK', venv / '.packages.json')):
        monkeypatch.setattr(module, name, value)
    return module


def prefix_with_rclpy(folder: Path) -> Path:
    marker = folder / 'share/ament_index/resource_index/packages/rclpy'
    marker.parent.mkdir(parents=True)
    marker.touch()
    return folder


def test_a_sourced_jazzy_is_used(preflight: ModuleType, tmp_path: Path) -> None:
    ros = prefix_with_rclpy(tmp_path / 'jazzy')
    environment = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': f'{tmp_path / "ws"}:{ros}'}
    assert preflight.installed_ros(environment, tmp_path / '.venv') == ros


@pytest.mark.parametrize('changed', [
    {'ROS_DISTRO': 'humble'}, {'AMENT_PREFIX_PATH': ''}, {'AMENT_PREFIX_PATH': '/nowhere'}])
def test_another_distribution_or_one_without_rclpy_is_not(
        preflight: ModuleType, tmp_path: Path, changed: dict[str, str]) -> None:
    ros = prefix_with_rclpy(tmp_path / 'ros')
    environment = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': str(ros), **changed}
    assert preflight.installed_ros(environment, tmp_path / '.venv') is None


def test_our_own_wheels_are_no_installation(preflight: ModuleType, tmp_path: Path) -> None:
    own = prefix_with_rclpy(tmp_path / '.venv')
    environment = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': str(own)}
    assert preflight.installed_ros(environment, own) is None


def test_a_python_without_wheels_is_named_with_the_remedy(
        preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'version_info', (3, 13, 0))
    with pytest.raises(preflight.SetUpError, match=r'3\.13 found, .* make PYTHON=python3\.12'):
        preflight.check_python()


def test_missing_programs_are_named_in_one_line_with_the_apt_line(
        preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(preflight.SetUpError) as failure:
        preflight.check_parts()
    message = str(failure.value)
    assert 'missing: make, cmake, g++' in message
    assert 'apt-get install -y python3-venv python3-dev git make cmake g++' in message
    assert '\n' not in message


def test_repaired_cmake_files_stay_as_they_are() -> None:
    wheel_repair = importlib.import_module('wheel_repair')
    includes = ('/usr/include/python3.11', '/my venv/site-packages/numpy/_core/include')
    text = ('"/opt/python/cp311-cp311/include/python3.11;'
            '/tmp/x/lib/python3.11/site-packages/numpy/_core/include"')
    repaired = wheel_repair.repair_text(text, *includes)
    assert repaired == f'"{includes[0]};{includes[1]}"'
    assert wheel_repair.repair_text(repaired, *includes) == repaired


def test_packages_are_due_until_their_mark_says_the_same(set_up: ModuleType) -> None:
    stages = set_up.SetUp(None)
    wanted = stages._wanted_packages()
    assert not stages._packages_are(wanted)
    set_up.VENV_PYTHON.touch()
    set_up.PACKAGES_MARK.write_text(json.dumps(wanted))
    assert stages._packages_are(wanted)
    assert not stages._packages_are({**wanted, 'requirements': 'changed'})
    assert not stages._packages_are({**wanted, 'place': '/elsewhere/.venv'})


def test_an_environment_of_wheels_is_not_one_of_an_installed_ros(set_up: ModuleType) -> None:
    wheels, installed = set_up.SetUp(None), set_up.SetUp(Path('/opt/ros/jazzy'))
    assert wheels._wanted_packages() != installed._wanted_packages()
    assert wheels._environment['AMENT_PREFIX_PATH'] == str(set_up.VENV)


def test_a_failed_stage_shows_its_last_lines_and_where_the_rest_is(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preflight, stage = (importlib.import_module(name) for name in ('preflight', 'stage'))
    command = [sys.executable, '-c', 'print("no space left"); raise SystemExit(3)']
    with pytest.raises(preflight.SetUpError, match=r'exit code 3; .* log/set_up/a_step\.log'):
        stage.Stage('a step', tmp_path).run(command, {})
    assert 'no space left' in capsys.readouterr().out
    assert 'no space left' in (tmp_path / 'log/set_up/a_step.log').read_text()
