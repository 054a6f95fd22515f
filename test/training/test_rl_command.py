"""``chunked-vla train`` with ``--from``: what it says before it begins, and mistakes in a line."""

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import signal

import pytest
import yaml

from chunked_vla_ros.cli import main
from chunked_vla_ros.training.config import read_config
from chunked_vla_ros.training.rl_config import METHODS

SHIPPED = Path(__file__).parents[2] / 'config' / 'train'
OF_RL = ('advantage', 'qc', 'qc_fql', 'co_rft')
SMALL = {'method': 'qc', 'steps': 2, 'batch_size': 4, 'rl': {
    'horizon': 3, 'critic_width': 16, 'critic_layers': 1, 'candidates': 2, 'candidate_steps': 1}}


@pytest.fixture
def call(capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Return what runs a command line in this process; its signal handlers are taken back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def arguments(place, imitation, tmp_path):
    """Return the command line of a small training."""
    config = tmp_path / 'rl.yaml'
    config.write_text(yaml.safe_dump(SMALL))
    return ['train', str(config), '--data', str(place.data), '--cache', str(place.cache),
            '--out', str(tmp_path / 'out'), '--progress', 'json', '--from', str(imitation)]


def test_the_shipped_configurations_take_what_they_leave_out_from_the_checkpoint(
        make_material_of):
    start = read_config('compact', ['policy.width=64', 'horizon=20', 'imitation.flow_draws=2'])
    for name in OF_RL:
        config = read_config(SHIPPED / f'{name}.yaml', (), start)
        assert config.method == name
        assert (config.robot, config.horizon, config.policy.width) == ('ur5e_sim', 20, 64)
        assert config.imitation == start.imitation
        assert config.critic_horizon == 8    # 0.4 s between answers, 0.05 s between points
    assert set(OF_RL) == set(METHODS[1:])


DETERMINISTIC = ('--set', 'rl.head=deterministic', 'rl.accept_weak_data=true', 'steps=3',
                 'rl.critic_steps=1', 'rl.horizon=3')


def test_a_deterministic_head_is_asked_for_by_one_option(
        call, arguments, tmp_path, make_material_of):
    config = read_config(SHIPPED / 'co_rft.yaml', (), make_material_of().origin.config)
    assert (config.rl.head, config.policy.flow_steps) == ('flow', 4)
    code, _, _ = call('train', 'co_rft', *arguments[2:], *DETERMINISTIC)
    assert code == 0
    config = yaml.safe_load((tmp_path / 'out' / 'config.yaml').read_text())
    assert config['rl']['head'] == 'deterministic'
    assert (config['policy']['flow_steps'], config['policy']['noise_scale']) == (1, 0.0)


def test_a_deterministic_head_has_one_answer(call, arguments, tmp_path):
    code, _, said = call('train', 'co_rft', *arguments[2:], *DETERMINISTIC,
                         'policy.flow_steps=4')
    assert code == 2
    assert said.endswith('policy.flow_steps is 4, expected 1 for rl.head deterministic\n')
    assert said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_data_that_support_nothing_end_it_before_it_begins(call, arguments, tmp_path):
    code, _, said = call(*arguments)
    assert code == 2
    assert said.startswith('error: the data cannot support an improvement, imitation stays the ')
    assert said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_the_verdict_is_said_and_the_curve_goes_to_its_end(call, arguments, tmp_path):
    code, told, said = call(*arguments, '--set', 'rl.accept_weak_data=true', 'rl.alpha=7')
    assert code == 0
    assert 'note: rl.alpha: without effect, as method is qc\n' in said
    assert 'note: the data cannot support an improvement' in said
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines[-1]['event'] == 'end'
    assert {line['stage'] for line in lines} == {'offline_rl'}
    assert Path(lines[-1]['checkpoint'], 'critic.safetensors').is_file()
    about = json.loads(Path(lines[-1]['checkpoint'], 'state.json').read_text())
    assert about['rl']['points'] == 3
    assert about['rl']['values'] == 'unit'
    assert (tmp_path / 'out' / 'report.html').is_file()
    code, _, said = call(*arguments, '--resume', '--set', 'rl.accept_weak_data=true',
                         'rl.alpha=7', 'rl.target_rate=0.01')
    assert code == 2
    assert said.startswith('error: ')
    assert 'rl.target_rate was 0.005, is 0.01' in said
    assert said.count('\n') == 1    # and nothing of the data


@pytest.mark.parametrize(('change', 'line'), [
    ([], 'method is qc, which begins at an imitation checkpoint: name it with --from'),
    (['--from', 'NOWHERE'], 'NOWHERE: no checkpoint, expected a folder with state.json'),
    (['--from', '.'], '.: no checkpoint in it, expected the folder of a training')])
def test_no_checkpoint_to_begin_at_is_one_line(
        call, arguments, tmp_path, monkeypatch, change, line):
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path / 'empty')
    code, _, said = call(*arguments[:-2], *change)
    assert code == 2
    assert line in said
    assert said.count('\n') == 1


def test_imitation_begins_at_nothing(call, place, imitation, tmp_path):
    code, _, said = call(*place.arguments(tmp_path / 'out', '--from', str(imitation)))
    assert code == 2
    assert f'--from {imitation}: method is imitation, which begins at nothing: ' in said


def test_a_robot_in_the_configuration_does_not_stand_for_a_checkpoint(
        call, arguments, place, tmp_path):
    config = tmp_path / 'rl.yaml'
    robot = yaml.safe_load(place.config.read_text())['robot']
    config.write_text(yaml.safe_dump({'robot': robot, **SMALL}))
    code, _, said = call(*arguments[:-2])
    assert code == 2
    assert said == ('error: --from is missing: method is qc, which begins at an imitation '
                    'checkpoint\n')
