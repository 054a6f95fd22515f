"""Success is pooled over seeds with its interval, beside what was published."""

from dataclasses import replace
import json
import re

import pytest

from chunked_vla_ros.bench.rl_options import BenchRlOptions, METHOD_NAMES, PRESETS
from chunked_vla_ros.bench.rl_page import curve, headline, rl_page
from chunked_vla_ros.bench.rl_published import PUBLISHED, published
from chunked_vla_ros.bench.rl_results import Point, record_from_json, RunKey, RunRecord
from chunked_vla_ros.bench.rl_summary import (
    in_short,
    lines_of,
    markdown,
    rows,
    seed_rows,
    time_rows,
    to_json,
)
from chunked_vla_ros.core.statistics import wilson_interval
from chunked_vla_ros.graph.node_spec import GraphError

TASK = 'cube-double-task2'
FIRST = RunRecord(
    RunKey(TASK, 'qc', 0), (Point(50, 0, 1, 10, 80.0), Point(100, 0, 4, 10, 60.0)), updates=100,
    learned=100, learn_s=20.0, evaluate_s=6.0, finished=True)
SECOND = RunRecord(
    RunKey(TASK, 'qc', 1), (Point(50, 0, 3, 10, 70.0), Point(100, 0, 8, 10, 50.0),
                            Point(100, 30, 9, 10, 55.0)), updates=100, online_steps=30,
    learned=130, learn_s=65.0, evaluate_s=9.0)
RLPD = RunRecord(RunKey(TASK, 'rlpd', 0))
RECORDS = [FIRST, SECOND, RLPD]
BUDGET = replace(PRESETS['two-cores'].budget, updates=100, online_steps=30)


def test_seeds_are_pooled_with_wilsons_interval():
    low, high = wilson_interval(12, 20)
    assert rows(RECORDS) == [
        [TASK, 'QC', f'60 [{100 * low:.0f} to {100 * high:.0f}]', '72 (QC)',
         '90 [60 to 98]', '100 (QC)'],
        [TASK, 'RLPD', '-', '-', '-', '99 (QC)']]


def test_each_seed_has_its_own_line():
    assert seed_rows(RECORDS) == [
        [TASK, 'QC', '0', '4 of 10: 40 [17 to 69]', '-', '60'],
        [TASK, 'QC', '1', '8 of 10: 80 [49 to 94]', '9 of 10: 90 [60 to 98]', '55'],
        [TASK, 'RLPD', '0', '-', '-', '-']]


def test_costs_are_of_runs_that_learnt():
    assert time_rows(RECORDS) == [['QC', '3.5 (2.0 to 5.0)', '3.0 (3.0 to 3.0)', '2']]


def test_methods_stand_as_in_the_published_tables():
    keys = [RunKey(task, method, 0) for method in reversed(METHOD_NAMES) for task in 'ab']
    assert [(line.task, line.method) for line in lines_of([RunRecord(key) for key in keys])] == [
        (task, method) for task in 'ab' for method in METHOD_NAMES]


def test_the_budget_is_said_beside_the_published_one():
    text = ' '.join(in_short(BUDGET))
    assert '100 offline updates (0.01 % of the published 1000000)' in text
    assert 'arXiv 2507.07969' in text


def test_what_was_published_is_a_percentage_of_a_known_method():
    for of_task in PUBLISHED.values():
        assert set(of_task) <= set(METHOD_NAMES)
        for each in of_task.values():
            assert all(0 <= value <= 100 for value in (each.offline, each.online)
                       if value is not None)
    swap = [published('cube-double-task4', name).online for name in ('fql', 'bfn', 'qc', 'qc_fql')]
    assert swap == [1, 37, 92, 100]    # the paper's sharpest task
    assert published('cube-single-task1', 'qc').source == ''


def test_a_curve_has_the_places_that_all_seeds_were_evaluated_at():
    line = lines_of(RECORDS)[0]
    assert curve(line) == ([50.0, 100.0], [20.0, 60.0])


def test_the_report_has_its_finding_and_its_curves():
    assert headline(RECORDS) == f'{TASK}: QC succeeds in 90 %'
    assert headline([RLPD]) == 'Nothing was evaluated yet'
    page = rl_page(RECORDS, BUDGET, 'chunked-vla bench rl').render()
    assert page.count('<svg') == 1
    assert '60 [39 to 78]' in page
    assert '<svg' not in rl_page([RLPD], BUDGET, 'it').render()


def test_the_table_is_below_the_command():
    text = markdown(RECORDS, BUDGET, 'chunked-vla bench rl')
    assert text.startswith('`chunked-vla bench rl`\n\n| task | method |')
    assert '| cube-double-task2 | RLPD | - | - | - | 99 (QC) |' in text


def test_the_results_have_counts_and_every_run():
    results = json.loads(json.dumps(to_json(RECORDS, BUDGET, BenchRlOptions(), {})))
    assert results['complete'] is False
    offline = results['success'][0]['offline']
    assert (offline['k'], offline['n'], offline['lowest_seed']) == (12, 20, 0.4)
    assert results['success'][1]['offline'] is None
    assert [record_from_json(run) for run in results['runs']] == RECORDS


@pytest.mark.parametrize('said', [{}, [], None, {**FIRST.to_json(), 'more': 1},
                                  {**FIRST.to_json(), 'points': [{}]},
                                  {**FIRST.to_json(), 'key': 3}])
def test_what_is_no_record_is_refused(said):
    with pytest.raises(ValueError, match='no record of a run'):
        record_from_json(said)


def test_an_option_replaces_its_part_of_the_preset():
    preset = PRESETS['gpu']
    chosen = BenchRlOptions(preset='gpu', updates=7, online_steps=0, candidates=0,
                            methods=('qc',)).chosen
    assert chosen == replace(preset, methods=('qc',), budget=replace(
        preset.budget, updates=7, online_steps=0, candidates=0))
    assert BenchRlOptions(preset='gpu').chosen == preset


@pytest.mark.parametrize(('given', 'said'), [
    ({'methods': ('qc', 'iql')}, "--methods has 'iql', expected some of bfn_n,"),
    ({'episodes': 0}, '--episodes is 0, expected 1 or more'),
    ({'seeds': 0}, '--seeds is 0, expected 1 or more')])
def test_an_option_out_of_range_is_refused(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        _ = BenchRlOptions(**given).chosen


def test_a_bound_is_checked_at_once():
    with pytest.raises(GraphError, match='--discount is 0, expected 1e-06'):
        BenchRlOptions(discount=0)


def test_the_command_says_what_is_not_the_default():
    options = BenchRlOptions(preset='gpu', methods=('qc', 'bfn'), slice_s=480, resume=True)
    assert options.command == 'chunked-vla bench rl --preset gpu --methods qc bfn'
