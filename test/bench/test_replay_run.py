"""Judging a replay by its stamps: a late arm is late, a smooth motion has no jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import json
from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.bench.chunks_summary import (
    cells,
    frames,
    heads,
    markdown,
    overview,
    to_json,
)
from chunked_vla_ros.bench.replay_report import CameraReport, ReplayReport
from chunked_vla_ros.bench.replay_run import (
    judge,
    NoReplay,
    ReplayRun,
    Setting,
    Unfinished,
)
from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import (
    ExecutorSample,
    MotionRecord,
    StampedMotion,
)
from chunked_vla_ros.core.retarget import Demonstration, Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec

SESSION = 'ab' * 16
ZERO_NS = 1_795_219_200_000_000_000
SPEED = 0.1
LAG_S = 0.05

Make = Callable[..., Any]


@pytest.fixture
def replayed(make_robot: Make) -> Retargeted:
    """Return a recording of two joints that move at 0.1 rad/s for four seconds."""
    times_s = np.arange(0, 4.0001, 0.01)
    motion = Demonstration(
        times_s, np.stack([SPEED * times_s] * 2, axis=1), make_robot().joint_names, 'ramp.npy')
    return Retargeted(motion, motion, 1.0, 0.0, 0.0)


def record(make_chunk: Make, lag_s: float) -> MotionRecord:
    """Return 3 s in which commands keep the recording's time and the arm is ``lag_s`` late."""
    since = np.arange(0, 3_000_000_001, 20_000_000)
    stamps, t_s = ZERO_NS + since, since / 1e9
    ramp = np.stack([SPEED * t_s] * 2, axis=1)
    sent = ZERO_NS + np.arange(0, 3_000_000_001, 5_000_000)
    still = np.zeros(2)
    states = tuple(
        ExecutorSample(
            stamp_ns=int(stamp), mode=1, session_id=SESSION, chunk_id=int(t // 0.4),
            observation_to_command_s=0.02, position=row, velocity=np.full(2, SPEED),
            acceleration=still, counters=Counters(ticks=round(t * 200), clamps=7),
            lateness_p50_s=0.0, lateness_p99_s=0.0, reason='')
        for stamp, t, row in zip(stamps, t_s, ramp, strict=True))
    return MotionRecord(
        measured=StampedMotion(stamps, ramp - SPEED * lag_s),
        commands=StampedMotion(
            sent, np.stack([SPEED * (sent - ZERO_NS) / 1e9] * 2, axis=1)),
        command_sequence=np.arange(sent.size), executor=states,
        chunks=tuple(
            make_chunk(np.zeros((16, 2)), start_ns=ZERO_NS + k * 400_000_000, chunk_id=k)
            for k in range(8)))


def judged(make_robot: Make, make_chunk: Make, replayed: Retargeted, **how: Any) -> ReplayRun:
    robot: RobotSpec = make_robot()
    return judge(record(make_chunk, LAG_S), SESSION, robot, replayed,
                 Setting(how.get('delay_s', 0.0), how.get('repeat', 0)))


def test_lag_of_the_arm_is_the_tracking_error(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    # 50 ms at 0.1 rad/s = 5 mrad, throughout.
    assert run.measured.whole.rms_rad == pytest.approx(5e-3)
    assert run.measured.settled.max_rad == pytest.approx(5e-3)
    assert run.measured.whole.samples == 151
    assert run.measured.settled.samples == 101
    assert run.commanded.whole.max_rad == pytest.approx(0.0, abs=1e-12)


def test_smooth_motion_has_splices_but_no_jump(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    assert run.at_splices.intervals == 7
    assert run.kept_its_promises
    # 0.1 rad/s at 200 Hz.
    assert run.splice_step_rad == pytest.approx(5e-4)
    assert run.limits.velocity == pytest.approx(SPEED)      # of 1 rad/s


def test_refused_chunk_breaks_the_promise(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    assert not replace(run, counters=Counters(rejected=1)).kept_its_promises
    assert not replace(
        run, at_splices=replace(run.at_splices, jumps=1)).kept_its_promises


def test_counters_are_those_of_the_run(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    assert (run.counters.ticks, run.counters.clamps) == (600, 0)
    assert (run.commands, run.lost_commands) == (601, 0)


def test_record_without_the_first_chunk_has_no_time_zero(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    full = record(make_chunk, LAG_S)
    with pytest.raises(NoReplay, match='first chunk of session abababab'):
        judge(replace(full, chunks=full.chunks[1:]), SESSION, make_robot(), replayed,
              Setting(0.0, 0))


def test_record_without_commands_is_no_replay(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    with pytest.raises(NoReplay, match='0 commanded points'):
        judge(replace(record(make_chunk, LAG_S), executor=()), SESSION, make_robot(), replayed,
              Setting(0.0, 0))


def test_a_stop_of_the_guard_is_counted_once_and_breaks_the_promise(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    full = record(make_chunk, LAG_S)
    # Stopped for 80 ms from 1 s on, and again from 2 s on.
    states = tuple(
        replace(one, reason='stopped at a limit: velocity')
        if index in range(50, 54) or index in range(100, 104) else one
        for index, one in enumerate(full.executor))
    run = judge(replace(full, executor=states), SESSION, make_robot(), replayed, Setting(0.0, 0))
    assert run.guard_stops == 2
    assert not run.kept_its_promises


def test_a_replay_that_waited_for_the_arm_says_so_and_breaks_the_promise(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judge(record(make_chunk, LAG_S), SESSION, make_robot(), replayed, Setting(0.0, 0),
                ReplayReport({'jump': 1}, 1, 1.6))
    assert not run.kept_its_promises
    line = dict(zip(*overview([run]), strict=True))
    assert line['waits for the arm, late [s]'] == '1, 1.60'
    details = {row[0]: row[1] for row in cells([run])}
    assert details['reasons of refusal'] == 'jump 1'
    assert details['waits of the replay for an arm that was held, late by them at most [s]'] == (
        '1, 1.60')


def test_overview_has_one_row_per_setting_with_median_range_and_worst(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = replace(judged(make_robot, make_chunk, replayed), taking_tick_s=(1e-3, 2e-3))
    worse = replace(
        run, repeat=1, taking_tick_s=(3e-3, 9e-3), lateness_p99_s=4e-4, measured=replace(
            run.measured, whole=replace(run.measured.whole, rms_rad=7e-3, max_rad=9e-3)))
    other = replace(run, delay_s=0.05)
    head, *lines = overview([run, worse, other])
    first, second = (dict(zip(head, line, strict=True)) for line in lines)
    assert (first['chunks [Hz]'], first['delay [ms]'], first['runs']) == ('20', '0', '2')
    assert first['measured: rms / max [mrad]'] == '6.00 (5.00 to 7.00) / 9.00'
    assert first['tick taking a chunk: median / max [ms]'] == '2.00 / 9.00'
    assert first['lateness p99 [ms]'] == '0.40'
    assert (second['delay [ms]'], second['runs']) == ('50', '1')
    # No joint counts in shares of its range.
    assert not any('shares' in name for name in head)


def test_played_cameras_have_a_table_with_one_row_per_setting(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    assert frames([run]) == []
    seen = [replace(run, said=ReplayReport(cameras=(CameraReport('high', rate, 30.0, 280, 1, 0),)))
            for rate in (29.0, 30.0)]
    assert frames(seen)[1:] == [
        ['20', '0', 'high', '29.5 (29.0 to 30.0) of 30', '560', '2', '0']]
    assert '| 20 | 0 | high | 29.5 (29.0 to 30.0) of 30 | 560 | 2 | 0 |' in markdown(seen, 'x')


def test_a_replay_that_did_not_finish_is_named_and_in_no_number(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed)
    lost = Unfinished('ramp.npy', Setting(0.1, 2, 10.0), 'timeout; the executor said: astray')
    assert markdown([run], 'x', [lost]).endswith(
        '\nNot finished, and in no number above:\n\n- ramp.npy, chunks at 10 Hz, 100 ms delay, '
        'run 3: timeout; the executor said: astray\n')
    found = json.loads(json.dumps(to_json([run], 'x', {}, [lost])))
    assert (found['n'], found['unfinished'][0]['setting']['chunk_rate_hz']) == (1, 10.0)


def test_table_has_one_column_per_delay_and_the_worst_run_where_it_matters(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    run = judged(make_robot, make_chunk, replayed, delay_s=0.05)
    worse = replace(
        run, repeat=1, measured=replace(
            run.measured, whole=replace(run.measured.whole, rms_rad=7e-3, max_rad=9e-3)))
    other = judged(make_robot, make_chunk, replayed)
    assert heads([run, worse, other]) == ['3 runs', '20 Hz, 0 ms delay', '20 Hz, 50 ms delay']
    table = {row[0]: row[1:] for row in cells([run, worse, other])}
    assert table['measured against recorded, rms [mrad]'] == [
        '5.00 (5.00 to 5.00)', '6.00 (5.00 to 7.00)']
    assert table['measured against recorded, max [mrad]'] == ['5.00', '9.00']
    assert table['splices'] == ['7', '14']


def test_markdown_names_command_and_time_scale(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    text = markdown([judged(make_robot, make_chunk, replayed)], 'chunked-vla bench chunks')
    assert text.startswith('`chunked-vla bench chunks`')
    assert '| ramp.npy | 20 | 4.00 | moved to begin at home | 1.00 | 0.00 / 0.00% |' in text
    widths = {line.count('|') for line in text.splitlines() if line.startswith('|')}
    assert widths == {3, 7, 14}


def test_json_holds_every_run_as_plain_values(
        make_robot: Make, make_chunk: Make, replayed: Retargeted) -> None:
    found = json.loads(json.dumps(
        to_json([judged(make_robot, make_chunk, replayed)], 'command', {'python': '3.11'})))
    assert found['n'] == 1
    assert found['runs'][0]['measured']['whole']['joint_rms'] == pytest.approx([5e-3, 5e-3])
