"""Counting images between two real processes, and what the table makes of it."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.bench.transport import BenchTransportOptions, plan, run_bench_transport
from chunked_vla_ros.bench.transport_run import (
    DEFAULT,
    NoTransport,
    OURS,
    profile_environment,
    TransportRun,
)
from chunked_vla_ros.bench.transport_summary import lost_with_ours, markdown, rows, to_json
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.transport import PROFILE_VARIABLE

RUN = TransportRun(OURS, 12.0, 1080, 0, 0, 0, {'camera_0': 0}, 2.0, 5.0, 0.25, 0.5, 1.0)
LOSSY = replace(RUN, profile=DEFAULT, lost=540, latency_p50_ms=3.0)


@pytest.mark.parametrize(('options', 'named'), [
    ({'cameras': 0}, '--cameras is 0, expected 1 to 8'),
    ({'repeat_seconds': 0.5}, '--repeat-seconds is 0.5'),
    ({'rate_hz': 500.0}, '--rate-hz is 500.0')])
def test_wrong_option_is_named(options: dict[str, float], named: str) -> None:
    with pytest.raises(GraphError, match=named):
        BenchTransportOptions(**options)  # type: ignore[arg-type]


def test_profiles_take_turns_in_being_first() -> None:
    assert plan(BenchTransportOptions(repeats=2)) == [
        (OURS, 60.0), (OURS, 12.0), (DEFAULT, 12.0), (DEFAULT, 12.0), (OURS, 12.0)]


def test_the_profile_is_chosen_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROFILE_VARIABLE, '/etc/theirs.xml')
    assert PROFILE_VARIABLE not in profile_environment(DEFAULT, 7)
    ours = profile_environment(OURS, 7)
    assert Path(ours[PROFILE_VARIABLE]).name == 'fastdds_shm.xml'
    assert ours['ROS_DOMAIN_ID'] == '7'
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp')
    with pytest.raises(NoTransport, match='rmw_cyclonedds_cpp, expected Fast DDS'):
        profile_environment(OURS, 7)


def test_only_what_ours_lost_or_spoiled_counts() -> None:
    assert lost_with_ours([RUN, LOSSY]) == 0
    assert lost_with_ours([replace(RUN, lost=1), replace(RUN, refused=2), LOSSY]) == 3


def test_the_table_has_a_column_per_profile_and_length() -> None:
    runs = [LOSSY, replace(RUN, latency_p50_ms=4.0), RUN, replace(RUN, seconds=60.0, sent=5400)]
    lines = {line[0]: line[1:] for line in rows(runs)}
    assert lines['images lost / sent'] == [
        '0 / 5400 (0.0%)', '0 / 2160 (0.0%)', '540 / 1080 (50.0%)']
    assert lines['latency p50 [ms]'] == ['2.0', '3.0 (2.0 to 4.0)', '3.0']
    assert lines['receiver [% of a core]'][0] == '50.0'
    table = markdown(runs, 'chunked-vla bench transport')
    assert "|  | ours, 1 x 60 s | ours, 2 x 12 s | Fast DDS's default, 1 x 12 s |" in table
    assert to_json(runs, 'c', {})['runs'][0]['lost_by_camera'] == {'camera_0': 0}


def test_a_run_in_which_nothing_arrives_has_no_latency() -> None:
    silent = replace(LOSSY, lost=1080, latency_p50_ms=None, latency_p99_ms=None)
    assert rows([silent])[1][1] == 'nothing arrived'


@pytest.mark.timeout(120)
def test_images_go_from_process_to_process_and_every_one_is_accounted_for(
        tmp_path: Path) -> None:
    target = tmp_path / 'transport.json'
    options = BenchTransportOptions(
        cameras=2, width=64, height=48, seconds=1.0, repeats=1, repeat_seconds=1.0,
        out=str(tmp_path / 'out'), json=str(target))
    code = run_bench_transport(options)
    results = json.loads(target.read_text())
    assert [run['profile'] for run in results['runs']] == [OURS, OURS, DEFAULT]
    for run in results['runs']:
        assert run['sent'] == 60
        assert run['refused'] == 0
        assert 0 <= run['lost_by_number'] <= run['lost'] < 60
        assert 0.0 < run['latency_p50_ms'] <= run['latency_p99_ms']
        assert run['receiver_cpu'] > 0.0
    assert code == (0 if results['lost_with_ours'] == 0 else 1)
    assert (tmp_path / 'out' / 'table.md').read_text().startswith('`chunked-vla bench transport')
