"""What can be pooled is found; what cannot is refused in one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.evaluate.arm_results import ArmError, read_groups, read_result

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(['seed', 'timing', 'episodes', 'film']), inner, max_size=3), max_leaves=5)


def refused(call, *arguments, **options):
    with pytest.raises(ArmError) as error:
        call(*arguments, **options)
    said = str(error.value)
    assert '\n' not in said
    return said


def changed(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_seeds_of_one_condition_are_pooled_for_each_set(tmp_path, write_arm):
    for cell in ('mixed-10', 'mixed-9', 'varying_1'):
        for arm in ('qc', 'all'):
            write_arm(cell, arm, (1, 0))
            write_arm(cell, arm, (0, 0), position_set='unseen')
    found = read_groups([tmp_path])
    assert [(one.condition, one.position_set, one.cells, list(one.results)) for one in found] == [
        ('mixed', 'random', ('mixed-9', 'mixed-10'), ['all', 'qc']),
        ('mixed', 'unseen', ('mixed-9', 'mixed-10'), ['all', 'qc']),
        ('varying', 'random', ('varying_1',), ['all', 'qc']),
        ('varying', 'unseen', ('varying_1',), ['all', 'qc'])]
    assert found[0].title == 'mixed, random positions'
    assert [one.success for one in found[0].episodes('qc')['mixed-10']] == [True, False]


def test_cells_and_arms_can_be_chosen(tmp_path, write_arm):
    for cell in ('1', '2'):
        for arm in ('a', 'b', 'c'):
            write_arm(cell, arm, (1,))
    found, = read_groups([tmp_path], '2', ('c', 'a'))
    assert (found.title, found.cells, list(found.results)) == (
        'random positions', ('2',), ['c', 'a'])


def test_an_arm_may_be_absent_everywhere_but_not_somewhere(tmp_path, write_arm):
    for cell in ('m-1', 'm-2'):
        write_arm(cell, 'all', (1, 0))
        write_arm(cell, 'all', (1, 0), position_set='unseen')
        write_arm(cell, 'qc', (1, 1))
    assert [list(one.results) for one in read_groups([tmp_path])] == [['all', 'qc'], ['all']]
    write_arm('m-2', 'qc', (1, 1), position_set='unseen')
    assert refused(read_groups, [tmp_path]).startswith(
        'cell m-1 has no arm qc at unseen positions')
    assert len(read_groups([tmp_path], cells='m-2')) == 2


def test_cells_may_have_starts_of_their_own(tmp_path, write_arm):
    for first, cell in enumerate(('m-1', 'm-2')):
        for arm in ('all', 'qc'):
            write_arm(cell, arm, (1, 0), first_seed=100 * first)
    assert len(read_groups([tmp_path])) == 1


@pytest.mark.parametrize(('changes', 'message'), [
    ({'first_seed': 7}, 'first seed is 7'),
    ({'outcomes': (1, 1, 1)}, 'episodes is 3'),
    ({'timing': {'latency_s': 0.2}}, "timing is {'latency_s': 0.2}"),
    ({'robot': 'g1'}, "robot is 'g1'")])
def test_arms_from_other_starts_are_refused(tmp_path, write_arm, changes, message):
    write_arm('m-1', 'all', (1, 0))
    file = write_arm('m-1', 'qc', **({'outcomes': (1, 1)} | changes))
    assert refused(read_groups, [tmp_path]).startswith(f'{file}: {message}, in ')


def test_arms_at_other_positions_are_refused_whatever_the_folder_is_called(tmp_path, write_arm):
    write_arm('m-1', 'all', (1, 0))
    file = write_arm('m-1', 'qc', (1, 0))
    changed(file, lambda content: content.update(position_set='unseen'))
    assert "position set is 'unseen'" in refused(read_groups, [tmp_path])
    changed(file, lambda content: content.update(position_set='random'))
    changed(file, lambda content: content['policies'][0]['episodes'][0].update(task='red_right'))
    assert 'were not run from the same starts' in refused(read_groups, [tmp_path])


def test_cells_that_were_run_otherwise_are_not_pooled(tmp_path, write_arm):
    write_arm('m-1', 'all', (1, 0))
    file = write_arm('m-2', 'all', (1, 0), timing={'latency_s': 0.2})
    assert refused(read_groups, [tmp_path]).startswith(f'{file}: timing is')


def test_one_policy_in_several_cells_is_noticed(tmp_path, write_arm):
    write_arm('m-1', 'all', (1, 0))
    changed(write_arm('m-2', 'all', (1, 0)),
            lambda content: content['policies'][0].update(policy_id='all@m-1'))
    found, = read_groups([tmp_path])
    line, = found.repeated
    assert line == ('m, random positions: arm all is the same policy in several of the cells '
                    'm-1, m-2: they are not as many seeds')


@pytest.mark.parametrize(('starts', 'noticed'), [(9, False), (8, True)])
def test_starts_that_come_again_and_again_are_noticed(tmp_path, write_arm, starts, noticed):
    for arm in ('all', 'qc'):
        write_arm('m-1', arm, (1,) * 10, position_set='fixed')
        write_arm('m-2', arm, (1,) * 10, position_set='fixed', starts=starts)
    found, = read_groups([tmp_path])
    assert found.results['qc']['m-2'].distinct_starts == starts
    line = ('m, fixed positions: only so many starts differ: 8 of 10 in cell m-2; the others are '
            'copies, so every interval is too narrow and every p too small: evaluate at random or '
            'unseen positions')
    assert found.copied == ([line] if noticed else [])


def test_another_task_is_another_start_and_a_place_that_is_not_told_is_no_copy(write_arm):
    file = write_arm('m-1', 'all', (1, 1, 1), starts=1)
    assert read_result(file).distinct_starts == 1
    changed(file, lambda content: episode(content).update(task='red_right'))
    assert read_result(file).distinct_starts == 2
    changed(file, lambda content: [one.pop('cube_x_m')
                                   for one in content['policies'][0]['episodes']])
    assert read_result(file).distinct_starts == 3


def test_all_seeds_at_fixed_positions_are_six_starts(write_arm):
    tasks = pytest.importorskip('chunked_vla_ros.sim.tasks')
    file = write_arm('m-1', 'all', (1,) * 40, position_set='fixed')

    def place(content):
        for one in content['policies'][0]['episodes']:
            start = tasks.draw_start(one['seed'], 'fixed')
            cube = start.cubes[tasks.CUBES.index(start.task.cube)]
            one.update(task=start.task.name, cube_x_m=cube.x, cube_y_m=cube.y)
    changed(file, place)
    assert read_result(file).distinct_starts == 6


def test_nothing_there_is_said(tmp_path, write_arm):
    assert 'no results found, expected CELL/arms/ARM/SET/results.json' in refused(
        read_groups, [tmp_path])
    assert 'no such folder' in refused(read_groups, [tmp_path / 'no'])
    write_arm('m-1', 'all', (1,))
    assert 'no results found in cells x*' in refused(read_groups, [tmp_path], cells='x*')
    assert refused(read_groups, [tmp_path], arms=('qc',)) == 'there is no arm qc, found all'


def test_a_cell_in_two_folders_is_refused(tmp_path, write_arm):
    write_arm('first/m-1', 'all', (1,))
    write_arm('second/m-1', 'all', (1,))
    assert 'cell m-1 is in' in refused(read_groups, [tmp_path / 'first', tmp_path / 'second'])


def episode(content):
    return content['policies'][0]['episodes'][0]


@pytest.mark.parametrize(('change', 'message'), [
    (lambda content: content.update(complete=False), 'complete is False, expected true'),
    (lambda content: content.update(schema=2), 'schema is 2, expected 1'),
    (lambda content: content.pop('timing'), 'timing is missing'),
    (lambda content: content['policies'].append({}), '2 policies, expected one'),
    (lambda content: content.update(policies=['a']), "policies[0] is 'a', expected a mapping"),
    (lambda content: content['policies'][0].update(episodes=[]), 'expected at least one'),
    (lambda content: content['policies'][0]['episodes'].append(episode(content)), 'twice'),
    (lambda content: episode(content).update(success=1), 'episodes[0].success is 1'),
    (lambda content: episode(content).update(duration_s='6'), "duration_s is '6'"),
    (lambda content: episode(content).update(duration_s=0), 'more than 0 s of a success'),
    (lambda content: episode(content).update(seed=1.5), 'episodes[0].seed is 1.5'),
    (lambda content: episode(content).update(cube_y_m=[0.1]), 'cube_y_m is [0.1], expected a num'),
    (lambda content: episode(content).pop('instruction'), 'episodes[0] is no episode')])
def test_a_damaged_file_is_one_line_that_names_it(write_arm, change, message):
    file = write_arm('m-1', 'all', (1, 0))
    changed(file, change)
    said = refused(read_result, file)
    assert message in said
    assert str(file) in said


@pytest.mark.parametrize('content', [b'', b'{"schema": 1', b'\xff', b'[' * 100_000, b'[]', b'1'])
def test_what_is_no_results_is_one_line(tmp_path, content):
    file = tmp_path / 'results.json'
    file.write_bytes(content)
    assert refused(read_result, file).startswith(f'{file}: ')
    assert 'cannot be read' in refused(read_result, tmp_path / 'none.json')


@pytest.fixture
def sound(write_arm):
    return json.loads(write_arm('m-1', 'all', (1, 0)).read_text())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(['', 'policies', 'episodes']), st.data())
def test_any_damage_is_read_or_refused_in_one_line(sound, tmp_path, where, data):
    content = json.loads(json.dumps(sound))
    part = {'': content, 'policies': content['policies'][0], 'episodes': episode(content)}[where]
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(VALUES)
    file = Path(tmp_path / 'damaged.json')
    file.write_text(json.dumps(content))
    try:
        said = f'{file}: {len(read_result(file).episodes)} episodes'
    except ArmError as error:
        said = str(error)
    assert '\n' not in said
    assert said.startswith(f'{file}: ')
