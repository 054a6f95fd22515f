"""The command ``chunked-vla compare``: table, page and numbers, and one line for each mistake."""

from __future__ import annotations

import html
import json
import re

import pytest

from chunked_vla_ros.cli import main
from chunked_vla_ros.evaluate.arms_run import CompareOptions, run_compare
from chunked_vla_ros.evaluate.arms_table import verdict


@pytest.fixture
def three_arms(tmp_path, write_arm):
    """Return a folder with two seeds of three arms: all, better by all measures, and hopeless."""
    for cell in ('mixed-1', 'mixed-2'):
        write_arm(cell, 'all', (1, 1, 1, 1, 1, 0, 0, 0, 0, 0))
        write_arm(cell, 'better', (1,) * 10, duration_s=8.0)
        write_arm(cell, 'hopeless', (0,) * 10)
    return tmp_path


def test_everything_is_written_and_says_the_same(three_arms, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    out = tmp_path / 'out'
    assert main(['compare', str(three_arms), '--out', str(out)]) == 0
    said = capsys.readouterr().out
    content = json.loads((out / 'arms.json').read_text())
    table, page = (out / 'table.md').read_text(), html.unescape((out / 'report.html').read_text())
    group, = content['groups']
    assert [(one['arm'], one['k'], one['n']) for one in group['arms']] == [
        ('all', 10, 20), ('better', 20, 20), ('hopeless', 0, 20)]
    better = group['comparisons'][0]
    # Ten that differ, all one way.
    assert better['pairs']['mcnemar_exact_p'] == pytest.approx(2 * 0.5**10)
    assert (better['ratio']['value'], better['cycle_time_percent']['value']) == (
        2.0, pytest.approx(-20.0))
    assert group['results']['all']['mixed-2']['policy_id'] == 'all@mixed-2'
    for shown in (said, table, page):
        for text in ('20 / 20', '10 / 20', '0.00195', '+50.0 [', '-20.0 [-20.0', 'better',
                     'mixed-1, mixed-2', 'mixed, random positions'):
            assert text in shown, text
    # The terminal has no room for every column.
    assert '+50.0, +50.0' in table
    assert '+50.0, +50.0' in page
    assert content['command'] == f'chunked-vla compare {three_arms}'
    assert content['command'] in table
    assert {'python', 'numpy'} <= set(content['versions'])


def test_the_page_states_what_was_found_and_draws_it(three_arms, tmp_path):
    assert run_compare(CompareOptions((str(three_arms),), out=str(tmp_path / 'out'))) == 0
    page = html.unescape((tmp_path / 'out' / 'report.html').read_text())
    found = re.findall(r'<h2>(.*?)</h2>', page)
    where = 'mixed, random positions'
    assert found[:2] == [
        f'{where}: better succeeded most often, in 100% of 20 episodes',
        (f'{where}, against all: more often successful is better; less often successful is '
         'hopeless; quicker is better')]
    # Success and cycle time, of the arms and of what they add.
    assert page.count('<svg') == 4
    assert 'prefers-color-scheme: dark' in page


def test_a_baseline_that_never_succeeded_is_no_fault(three_arms, tmp_path, capsys):
    assert main(['compare', str(three_arms), '--baseline', 'hopeless', '--out',
                 str(tmp_path / 'out')]) == 0
    comparison = json.loads((tmp_path / 'out' / 'arms.json').read_text())[
        'groups'][0]['comparisons'][0]
    assert (comparison['ratio'], comparison['cycle_time_percent']) == (None, None)
    assert '| n/a | n/a | n/a | 0 |' in (tmp_path / 'out' / 'table.md').read_text()


def test_two_pairs_give_neither_an_interval_of_cycle_time_nor_a_verdict(
        tmp_path, write_arm, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    for cell in ('mixed-1', 'mixed-2'):
        write_arm(cell, 'all', (1, 0, 0, 0, 0, 0))
        write_arm(cell, 'quick', (1, 0, 0, 0, 0, 0), duration_s=8.0)
    assert run_compare(CompareOptions((str(tmp_path),), out=str(tmp_path / 'out'))) == 0
    said, table = capsys.readouterr().out, (tmp_path / 'out' / 'table.md').read_text()
    page = html.unescape((tmp_path / 'out' / 'report.html').read_text())
    for shown in (said, table, page):
        assert '-20.0 [n/a: 2 pairs]' in shown
        assert '8.00 [n/a: 2 episodes]' in shown
        assert 'no arm clearly differs' in shown
        assert 'quicker is quick' not in shown
    comparison, = json.loads((tmp_path / 'out' / 'arms.json').read_text())[
        'groups'][0]['comparisons']
    assert comparison['cycle_time_percent']['interval_95'] is None


def test_starts_that_are_copies_are_a_warning(tmp_path, write_arm, capsys):
    for arm in ('all', 'qc'):
        write_arm('m-1', arm, (1, 0, 1, 0, 1, 0, 1, 0), position_set='fixed', starts=6)
    out = tmp_path / 'out'
    assert run_compare(CompareOptions((str(tmp_path),), out=str(out))) == 0
    line, = json.loads((out / 'arms.json').read_text())['warnings']
    assert '6 of 8 in cell m-1' in line
    assert capsys.readouterr().err == f'warning: {line}\n'
    assert line in (out / 'table.md').read_text()
    assert line in html.unescape((out / 'report.html').read_text())


def test_several_baselines_and_a_set_without_one(three_arms, write_arm, tmp_path, capsys):
    for cell in ('mixed-1', 'mixed-2'):
        write_arm(cell, 'all', (1, 0), position_set='unseen')
        write_arm(cell, 'hopeless', (0, 0), position_set='unseen')
    assert main(['compare', str(three_arms), '--baseline', 'all', 'better', '--out',
                 str(tmp_path / 'out')]) == 0
    line = 'mixed, unseen positions: there is no arm better to compare with'
    assert f'warning: {line}' in capsys.readouterr().err
    content = json.loads((tmp_path / 'out' / 'arms.json').read_text())
    assert content['warnings'] == [line]
    assert [len(one['comparisons']) for one in content['groups']] == [4, 1]


@pytest.mark.parametrize(('arguments', 'named'), [
    ([], 'no folder named'),
    (['DIR', '--baseline', 'qc'], '--baseline is qc, expected one of the arms all, better'),
    (['DIR', '--arms', 'qc'], 'there is no arm qc, found all, better, hopeless'),
    (['DIR/no'], 'no such folder'),
    (['DIR/mixed-1'], 'no results found'),
    (['DIR', '--seed', '-1'], '--seed is -1, expected 0')])
def test_a_mistake_is_one_line_and_nothing_is_written(
        three_arms, tmp_path, capsys, arguments, named):
    assert main(['compare', *(text.replace('DIR', str(three_arms)) for text in arguments),
                 '--out', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert said.count('\n') == 1
    assert named in said
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_written_is_one_line(three_arms, tmp_path, capsys):
    (tmp_path / 'out').write_text('a file')
    assert run_compare(CompareOptions((str(three_arms),), out=str(tmp_path / 'out'))) == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_who_does_not_differ_is_not_praised():
    assert verdict('all', []) == 'against all: no arm clearly differs, in success or cycle time'


def test_the_command_that_is_written_down_does_the_same_again():
    options = CompareOptions(('a b',), ('all', 'fastest'), cells='mixed-*', out='elsewhere')
    assert options.command == "chunked-vla compare 'a b' --baseline all fastest --cells 'mixed-*'"
