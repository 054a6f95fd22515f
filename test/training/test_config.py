"""Configurations: what is written is taken, what is wrong is one line that says where."""

from pathlib import Path

from hypothesis import given, strategies
import pytest
import yaml

from chunked_vla_ros.training.config import (
    config_from,
    ConfigError,
    differences,
    read_config,
    TrainConfig,
)

COMPACT = Path(__file__).parents[2] / 'config' / 'train' / 'compact.yaml'


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / 'my.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_config(path, overrides)
    message = str(refused.value)
    assert '\n' not in message
    return message.replace(f'{tmp_path}/', '')


def test_the_shipped_configuration_names_every_key_but_the_rare_ones():
    assert read_config('compact') == read_config(COMPACT)
    written = yaml.safe_load(COMPACT.read_text())
    assert set(TrainConfig(robot='-').to_dict()) - set(written) == {'held_out', 'log_every'}


def test_what_is_left_out_is_the_default(tmp_path):
    path = tmp_path / 'short.yaml'
    path.write_text('robot: ur5e_sim\nlearning_rate: 1e-4\ncameras: [front]\nheld_out: [3, a#4]')
    config = read_config(path)
    assert config == TrainConfig(
        robot='ur5e_sim', learning_rate=1e-4, cameras=('front',), held_out=(3, 'a#4'))


@pytest.mark.parametrize(('text', 'line'), [
    ('robot: a\nwidth: 3', "my.yaml: unknown key 'width', expected robot, cameras, horizon, "),
    ('robot: a\npolicy: {widht: 3}', "my.yaml: unknown key 'widht' in policy, expected backbone"),
    ('robot: a\nsteps: many', "my.yaml: steps is 'many', expected a whole number from 1 to 1e+08"),
    ('robot: a\nsteps: 2.5', 'my.yaml: steps is 2.5, expected a whole number from 1 to 1e+08'),
    ('robot: a\nsteps: true', 'my.yaml: steps is True, expected a whole number from 1 to 1e+08'),
    ('robot: a\nsteps: 0', 'my.yaml: steps is 0, expected a whole number from 1 to 1e+08'),
    ('robot: a\nlearning_rate: .nan', 'my.yaml: learning_rate is nan, expected a number from 0'),
    ('robot: a\nlearning_rate: -1', 'my.yaml: learning_rate is -1, expected a number from 0 to 1'),
    ('robot: a\ncompile: 1', 'my.yaml: compile is 1, expected true or false'),
    ('robot: a\nprecision: fp8', "my.yaml: precision is 'fp8', expected one of no, bf16, fp16"),
    ('robot: a\nprecision: yes', 'my.yaml: precision is True, expected one of no, bf16, fp16'),
    ('robot: a\ncameras: front', "my.yaml: cameras is 'front', expected a list"),
    ('robot: a\ncameras: [1.5]', 'my.yaml: cameras[0] is 1.5, expected a text'),
    ('robot: a\npolicy: small', "my.yaml: policy is 'small', expected a mapping of backbone"),
    ('robot: a\npolicy: {heads: 3}',
     'my.yaml: policy.width is 128, expected a multiple of policy.heads, 3'),
    ('robot: a\nimitation: {max_delay_steps: 16}',
     'my.yaml: imitation.max_delay_steps is 16, expected less than horizon, 16'),
    ('steps: 3', 'my.yaml: robot is missing: name a robot contract'),
    ('robot: a\nrobot: b', "my.yaml: not YAML: key 'robot' stands twice, line 1 column 1"),
    ('robot: [', 'my.yaml: not YAML: '),
    ('- robot', "my.yaml: is ['robot'], expected a mapping"),
    ('', 'my.yaml: is None, expected a mapping')])
def test_a_mistake_is_one_line_with_file_key_and_what_was_expected(tmp_path, text, line):
    assert refusal(tmp_path, text).startswith(line)


def test_values_of_the_command_line_take_the_place_of_the_files(tmp_path):
    path = tmp_path / 'my.yaml'
    path.write_text('steps: 10\npolicy: {width: 64}')
    config = read_config(path, ['robot=b', 'policy.width=96', 'policy.layers=1',
                                'learning_rate=1e-5', 'cameras=[front, wrist]'])
    assert (config.robot, config.steps, config.learning_rate) == ('b', 10, 1e-5)
    assert (config.policy.width, config.policy.layers) == (96, 1)
    assert config.cameras == ('front', 'wrist')


def test_the_word_no_is_a_choice_though_yaml_takes_it_for_false(tmp_path):
    path = tmp_path / 'my.yaml'
    path.write_text('robot: a\nprecision: no')
    assert read_config(path).precision == 'no'
    path.write_text('robot: a\nprecision: bf16')
    assert read_config(path, ['precision=no']).precision == 'no'
    assert read_config(path, ['compile=no']).compile is False


@pytest.mark.parametrize(('override', 'line'), [
    ('steps', '--set steps: expected KEY=VALUE, such as policy.width=96'),
    ('=3', '--set =3: expected KEY=VALUE'),
    ('policy.=3', '--set policy.=3: expected KEY=VALUE'),
    ('steps.more=3', '--set steps.more=3: steps has no keys of its own'),
    ('steps=[', '--set steps=[: not YAML: '),
    ('stepz=3', "--set stepz=3: unknown key 'stepz', expected robot"),
    ('policy.width=wide', "--set policy.width=wide: policy.width is 'wide', expected a whole "),
    ('horizon=1', '--set horizon=1: horizon is 1, expected a whole number from 2 to 200')])
def test_a_mistake_on_the_command_line_names_the_command_line(tmp_path, override, line):
    assert refusal(tmp_path, 'robot: a\nsteps: 3', override).startswith(line)


def test_a_file_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"'big': no such configuration, expected .*compact"):
        read_config('big')
    with pytest.raises(ConfigError, match=r'/none\.yaml: no such configuration'):
        read_config(tmp_path / 'none.yaml')


def test_what_is_written_down_is_read_back():
    config = read_config('compact', ['held_out=[3, a#1]', 'policy.width=64'])
    assert config_from(yaml.safe_load(yaml.safe_dump(
        {**config.to_dict(), 'cameras': [], 'held_out': [3, 'a#1']})), 'f') == config


def test_what_does_not_change_the_curve_is_no_difference():
    then = TrainConfig(robot='a')
    assert differences(then, TrainConfig(robot='a', keep=9, checkpoint_every=3)) == ()
    assert differences(then, TrainConfig(robot='a', steps=9, cameras=('front',))) == (
        'cameras was none, is front', 'steps was 20000, is 9')


@given(strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.integers()
    | strategies.text(max_size=9),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(
        strategies.sampled_from(['robot', 'steps', 'policy', 'width', 'cameras', 'horizon', 'x']),
        inner, max_size=3), max_leaves=8))
def test_whatever_stands_in_a_configuration_it_is_taken_or_refused_in_one_line(content):
    said = content if isinstance(content, dict) else {'robot': content}
    message = ''
    try:
        assert config_from(said, 'f').robot
    except ConfigError as error:
        message = str(error)
    assert '\n' not in message
