"""The command line: help teaches, a mistake is one line and exit code 2."""

from dataclasses import dataclass, field
import subprocess
import sys

import pytest

from chunked_vla_ros.cli import COMMANDS, main, parse


@dataclass(frozen=True)
class Options:
    """Do a thing."""

    count: int = field(default=3, metadata={'doc': 'how many things'})
    loud: bool = field(default=False, metadata={'doc': 'say so'})


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--help']) == 0
    overview = capsys.readouterr().out
    for command in COMMANDS:
        assert ' '.join(command.words) in overview
        assert command.summary in overview


def test_help_on_a_group_lists_its_commands_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['up', '--help']) == 0
    overview = capsys.readouterr().out
    assert 'up deploy' in overview
    assert 'doctor' not in overview


def test_no_command_at_all_is_a_mistake() -> None:
    assert main([]) == 2


@pytest.mark.parametrize(('arguments', 'message'), [
    (['fly'], "unknown command 'fly', expected one of up deploy, up record, up train, record,"),
    (['up'], 'up needs one of deploy, record, train, got nothing'),
    (['bench', 'everything'], 'bench needs one of chunks,'),
    (['up', 'deploy', '--params-file', 'nowhere.yaml'], 'nowhere.yaml: no such parameter file'),
    (['up', 'deploy', '--namespace', 'a b'], "namespace 'a b', expected names"),
    (['doctor', '--listen-s', '0'], '--listen-s is 0, expected 0.1 to 600'),
    (['doctor', '--robot', 'r2d2'], "'r2d2': no such robot contract"),
])
def test_a_mistake_is_one_line_and_exit_code_2(
        arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith('error: ')
    assert complaint.count('\n') == 1
    assert message in complaint


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--volume', '3'], 'Unrecognized options: --volume'),
    (['--count'], "Missing value for argument '--count'"),
    (['--count', 'many'], '--count'),
])
def test_a_wrong_option_is_one_line_that_points_to_the_help(
        arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(Options, 'chunked-vla thing', arguments)
    complaint = capsys.readouterr().err
    assert end.value.code == 2
    assert complaint.count('\n') == 1
    assert message in complaint
    assert '(see chunked-vla thing --help)' in complaint


def test_options_are_parsed_and_described_by_their_metadata(
        capsys: pytest.CaptureFixture[str]) -> None:
    options = parse(Options, 'chunked-vla thing', ['--count', '5', '--loud'])
    assert (options.count, options.loud) == (5, True)
    assert isinstance(options, Options)
    with pytest.raises(SystemExit) as end:
        parse(Options, 'chunked-vla thing', ['--help'])
    assert end.value.code == 0
    assert 'how many things' in capsys.readouterr().out


def test_the_module_can_be_run_as_a_program() -> None:
    result = subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', 'fly'], capture_output=True, text=True,
        check=False, timeout=60.0)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown command 'fly'")


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: ' '.join(command.words))
def test_every_command_has_help_that_describes_each_option(
        command: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.words, '--help']) == 0
    assert f'usage: chunked-vla {" ".join(command.words)}' in capsys.readouterr().out
