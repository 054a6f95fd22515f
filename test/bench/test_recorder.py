"""What the recorder benchmark counts, judges and shows; one small run of its processes."""

from collections import Counter
from dataclasses import replace
import json
from pathlib import Path
import subprocess
import sys

import pytest
from rich.console import Console

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mcap', reason='mcap is not installed')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from chunked_vla_ros.bench import recorder_summary, transport_summary  # noqa: E402
from chunked_vla_ros.bench.recorder import (  # noqa: E402
    BenchRecorderOptions,
    kill_times,
    plan,
    run_bench_recorder,
)
from chunked_vla_ros.bench.recorder_count import (  # noqa: E402
    Count,
    count,
    cut_off,
    CutOff,
    numbers_in,
)
from chunked_vla_ros.bench.recorder_processes import (  # noqa: E402
    NoRecordingError,
    OURS,
    PLAIN,
    Recording,
)
from chunked_vla_ros.bench.recorder_run import check_room, KilledRun, RecorderRun  # noqa: E402
from chunked_vla_ros.bench.recorder_summary import kept, markdown, ratios, rows  # noqa: E402
from chunked_vla_ros.bench.transport_run import OURS as OUR_PROFILE  # noqa: E402
from chunked_vla_ros.bench.transport_run import TransportRun  # noqa: E402
from chunked_vla_ros.core.numbered_cdr import NumberedCdr  # noqa: E402
from chunked_vla_ros.graph.node_spec import GraphError  # noqa: E402

JOINTS, CAMERA = '/joint_states', '/cameras/camera_0/image_raw'
RUN = RecorderRun(
    OURS, 20.0, {CAMERA: Count(600, 0, 0), JOINTS: Count(20_000, 0, 0)}, cpu_share=0.25,
    peak_mb=200.0, closing_s=0.3, bag_mb=560.0, sender_cpu=0.2, latest_ms=8.0, message='good')
THEIRS = replace(RUN, side=PLAIN, cpu_share=0.75, closing_s=0.1, topics={
    CAMERA: Count(600, 60, 0), JOINTS: Count(20_000, 1, 0)})
KILL = KilledRun(1.5, {CAMERA: CutOff(0.2, 0), JOINTS: CutOff(0.25, 0)}, 1400)


@pytest.mark.parametrize(('options', 'named'), [
    ({'cameras': 0}, '--cameras is 0, expected 1 to 8'),
    ({'kill_within_s': 0.0}, '--kill-within-s is 0.0'),
    ({'joint_rate_hz': 9000.0}, '--joint-rate-hz is 9000.0')])
def test_wrong_option_is_named(options, named):
    with pytest.raises(GraphError, match=named):
        BenchRecorderOptions(**options)


def test_the_command_that_repeats_the_benchmark_names_what_was_chosen():
    assert BenchRecorderOptions(kills=3, json='x', out='y').command == (
        'chunked-vla bench recorder --kills 3')


def test_the_recorders_take_turns_in_being_first():
    assert plan(BenchRecorderOptions(repeats=2)) == [
        (OURS, 60.0), (OURS, 20.0), (PLAIN, 20.0), (PLAIN, 20.0), (OURS, 20.0)]


def test_kills_come_at_times_that_a_seed_repeats():
    times = kill_times(BenchRecorderOptions(kill_within_s=2.0, seed=5))
    assert len(times) == 20
    assert times == kill_times(BenchRecorderOptions(kill_within_s=2.0, seed=5))
    assert times != kill_times(BenchRecorderOptions(kill_within_s=2.0, seed=6))
    assert 0.0 <= min(times) < 1.0 < max(times) <= 2.0


def test_a_disk_without_room_for_the_load_is_told_before_anything_runs(tmp_path):
    # 8 cameras of 4096 x 4096 at 240 Hz for an hour: 348 TB.
    options = BenchRecorderOptions(
        cameras=8, width=4096, height=4096, rate_hz=240.0, seconds=3600.0, out=str(tmp_path))
    with pytest.raises(NoRecordingError, match=r'choose another --out or fewer --seconds'):
        check_room(options)


def test_results_that_could_not_be_written_are_told_before_anything_runs(tmp_path, capsys):
    code = run_bench_recorder(BenchRecorderOptions(
        out=str(tmp_path), json=str(tmp_path / 'missing' / 'x.json')))
    assert code == 2
    error, = capsys.readouterr().err.splitlines()
    assert 'missing/x.json' in error


def test_numbers_tell_exactly_what_is_missing_and_what_is_there_twice():
    assert count(5, Counter([0, 1, 3, 3, 4])) == Count(sent=5, lost=1, doubled=1)
    assert count(3, Counter()) == Count(sent=3, lost=3, doubled=0)


def test_time_lost_runs_from_the_first_message_that_is_gone_to_the_cut():
    stamps_ns = [0, 10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9]
    # The cut is at 3.5 s; what was sent afterwards is nobody's loss.
    assert cut_off(stamps_ns, {0, 1}, 3_500_000_000) == CutOff(tail_s=1.5, holes=0)
    assert cut_off(stamps_ns, {0, 2, 3}, 3_500_000_000) == CutOff(tail_s=0.0, holes=1)
    assert cut_off(stamps_ns, set(), 3_500_000_000) == CutOff(tail_s=3.5, holes=0)
    assert cut_off(stamps_ns, set(), -1) == CutOff(tail_s=0.0, holes=0)


def test_a_bag_of_numbered_messages_is_read_by_number(tmp_path):
    head = bytes.fromhex('0001000000000000000000000d000000')
    template = NumberedCdr(head + b'0' * 12 + bytes(8))
    with rosbag2.Writer(tmp_path / 'bag', version=9,
                        storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        for topic in (JOINTS, '/without_numbers'):
            connection = writer.add_connection(
                topic, 'std_msgs/msg/String', msgdef='string data\n', rihs01='RIHS01_00')
            for number in (0, 2, 2):
                writer.write(connection, 1 + number, template.numbered(number, 0)
                             if topic == JOINTS else b'\0\1\0\0')
    assert numbers_in(tmp_path, [JOINTS, CAMERA]) == {JOINTS: {0: 1, 2: 2}, CAMERA: {}}
    with pytest.raises(ValueError, match=r'has 0 \.mcap files, expected one'):
        numbers_in(tmp_path / 'bag' / 'none', [JOINTS])


@pytest.mark.parametrize(('runs', 'kills'), [
    ([replace(RUN, topics={JOINTS: Count(20_000, 1, 0)})], [KILL]),
    ([replace(RUN, topics={JOINTS: Count(20_000, 0, 1)})], [KILL]),
    ([replace(RUN, closing_s=1.0)], [KILL]),
    ([RUN], [replace(KILL, topics={JOINTS: CutOff(0.51, 0)})]),
    ([RUN], [KILL, replace(KILL, topics={JOINTS: CutOff(0.1, 1)})])])
def test_one_fault_of_ours_is_enough_to_fail(runs, kills):
    assert kept([RUN, THEIRS], [KILL])
    assert not kept([RUN, *runs], kills)


def test_pairs_are_compared_with_each_other_and_the_first_recording_with_none():
    first = replace(RUN, cpu_share=9.0)    # as long as the pairs, but alone
    runs = [first, RUN, THEIRS, replace(THEIRS, cpu_share=1.0), replace(RUN, cpu_share=0.5)]
    assert ratios(runs, lambda run: run.cpu_share) == [3.0, 2.0]
    assert ratios([RUN], lambda run: run.cpu_share) == []


def test_the_table_has_a_column_for_each_recorder_and_one_for_what_is_wanted():
    runs = [replace(RUN, seconds=60.0), RUN, THEIRS, THEIRS, replace(RUN, cpu_share=0.35)]
    lines = {line[0]: line[1:] for line in rows(runs)}
    assert lines['images lost / sent'] == [
        '0 / 600 (0.0%)', '0 / 1200 (0.0%)', '120 / 1200 (10.0%)', '0']
    assert lines['recorder [% of a core]'] == ['25.0', '30.0 (25.0 to 35.0)',
                                               '75.0 (75.0 to 75.0)', '']
    assert lines['closing [s]'][-1] == 'every time < 1'
    assert lines['processor, this / recorder_node in pairs'] == [
        '', '', '2.57 (2.14 to 3.00)', '']
    table = markdown(runs, [KILL, KILL], 'the command')
    assert ('|  | recorder_node, 1 x 60 s | recorder_node, 2 x 20 s | rclpy + rosbags, 2 x 20 s '
            '| wanted of recorder_node |') in table
    assert f'| {JOINTS} | 0.250 (0.250 to 0.250) | 0.250 | 0 | every time <= 0.5, 0 |' in table


def test_terminals_show_units_in_brackets(capsys):
    console = Console(width=200)
    recorder_summary.print_tables([RUN], [KILL], console)
    transport_summary.print_table(
        [TransportRun(OUR_PROFILE, 1.0, 9, 0, 0, 0, {}, 1.0, 1.0, 0.1, 0.1, 1.0)], console)
    shown = capsys.readouterr().out
    for unit in ('closing [s]', 'time lost [s]', 'latency p50 [ms]'):
        assert unit in shown


def test_what_a_process_said_last_is_in_the_error(tmp_path):
    log = tmp_path / 'log'
    log.write_text('error: the disk is on fire\n')
    with subprocess.Popen([sys.executable, '-c', ''], stdout=subprocess.PIPE, text=True) as gone, \
            pytest.raises(NoRecordingError, match='the disk is on fire'):
        Recording(gone, gone, tmp_path, log).wait_for('begun')


@pytest.mark.timeout(240)
def test_both_recorders_are_counted_and_one_is_killed(tmp_path):
    target = tmp_path / 'recorder.json'
    code = run_bench_recorder(BenchRecorderOptions(
        cameras=2, width=64, height=48, joint_rate_hz=100.0, seconds=1.0, repeats=1,
        repeat_seconds=1.0, kills=1, kill_within_s=2.0, out=str(tmp_path / 'out'),
        json=str(target)))
    results = json.loads(target.read_text())
    assert [run['side'] for run in results['runs']] == [OURS, OURS, PLAIN]
    for run in results['runs']:
        assert {topic: found['sent'] for topic, found in run['topics'].items()} == {
            CAMERA: 30, '/cameras/camera_1/image_raw': 30, JOINTS: 100}
        # How many arrive beside other work is not asserted here, but nothing else comes.
        assert all(0 <= found['lost'] < found['sent'] for found in run['topics'].values())
        assert run['cpu_share'] > 0.0
        assert run['peak_mb'] > 10.0
        assert run['bag_mb'] > 0.2
    killed, = results['kills']
    assert set(killed['topics']) == {CAMERA, '/cameras/camera_1/image_raw', JOINTS}
    assert code == (0 if results['kept'] else 1)
    assert (tmp_path / 'out' / 'table.md').read_text().startswith('`chunked-vla bench recorder')
    assert not list(Path(tmp_path / 'out').glob('bags_*'))
