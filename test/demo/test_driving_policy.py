"""Who drives the demonstration: the bundle that comes along if there is one, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo import driving_policy as module
from chunked_vla_ros.demo.driving_policy import driving_policy, NoSuchPolicy


@pytest.fixture(scope='module')
def robot():
    return load_robot('ur5e_sim')


@pytest.fixture
def shipped(tmp_path, robot, make_bundle, monkeypatch):
    """Return the folder of a bundle that takes the place of the shipped one."""
    make_bundle(tmp_path / 'models', robot)
    monkeypatch.setattr(module, 'shared_file', lambda _: tmp_path / 'models' / 'manifest.json')
    return tmp_path / 'models'


def test_the_bundle_that_comes_along_drives_and_sees_no_simulator_state(shipped, robot):
    found = driving_policy('', robot)
    assert (found.policy, found.bundle) == ('onnx', str(shipped))
    assert found.remark.startswith('small@')
    assert 'no simulator state is used' in found.remark


def test_an_installation_of_links_is_followed_to_the_bundle(
        shipped, robot, tmp_path, monkeypatch):
    # What `colcon build --symlink-install` leaves: a folder with a link for each file.
    installed = tmp_path / 'share'
    installed.mkdir()
    for file in shipped.iterdir():
        (installed / file.name).symlink_to(file)
    monkeypatch.setattr(module, 'shared_file', lambda _: installed / 'manifest.json')
    assert driving_policy('', robot).bundle == str(shipped)


def test_the_bundle_that_ships_fits_its_robot(robot):
    found = driving_policy('', robot)
    assert found.policy == 'onnx', found.remark


def test_without_one_the_expert_drives_and_says_why_and_what_it_sees(robot):
    found = driving_policy('', robot, shipped='models/none')
    assert (found.policy, found.bundle) == ('expert', '')
    assert 'models/none is not installed' in found.remark
    assert 'from the simulator' in found.remark
    assert '\n' not in found.remark


def test_one_that_does_not_fit_the_robot_is_left_alone(shipped):
    found = driving_policy('', load_robot('franka_fr3'))
    assert found.policy == 'expert'
    assert 'does not fit' in found.remark


def test_one_that_is_damaged_is_left_alone_with_the_reason(shipped, robot):
    (shipped / 'policy.onnx').write_bytes(b'short')
    found = driving_policy('', robot)
    assert found.policy == 'expert'
    assert 'policy.onnx' in found.remark


def test_who_asks_for_the_expert_gets_it(shipped, robot):
    assert driving_policy('expert', robot).policy == 'expert'


def test_who_names_a_bundle_gets_that_one_or_a_reason(shipped, robot, tmp_path):
    assert driving_policy(str(shipped), robot).bundle == str(shipped)
    with pytest.raises(NoSuchPolicy, match='/no/bundle: no such bundle'):
        driving_policy('/no/bundle', robot)
    with pytest.raises(NoSuchPolicy, match='joint'):
        driving_policy(str(shipped), load_robot('franka_fr3'))
    (Path(tmp_path) / 'empty').mkdir()
    with pytest.raises(NoSuchPolicy, match=r'manifest\.json'):
        driving_policy(str(tmp_path / 'empty'), robot)
