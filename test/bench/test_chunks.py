"""Mistakes in the benchmark's options are one line; a robot-free part of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.bench.chunks import BenchChunksOptions, run_bench_chunks
from chunked_vla_ros.bench.replay_graph import log_name
from chunked_vla_ros.graph.node_spec import GraphError


@pytest.mark.parametrize(('options', 'named'), [
    ({}, '--demonstrations is missing'),
    ({'demonstrations': 'x', 'delays_s': ()}, '--delays-s'),
    ({'demonstrations': 'x', 'delays_s': (3.0,)}, '--delays-s'),
    ({'demonstrations': 'x', 'chunk_rates': (1.0,)}, '--chunk-rates'),
    ({'demonstrations': 'x', 'repeats': 0}, '--repeats is 0')])
def test_wrong_option_is_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(GraphError, match=named):
        BenchChunksOptions(**options)  # type: ignore[arg-type]


def test_command_repeats_what_matters_and_nothing_else() -> None:
    options = BenchChunksOptions(
        demonstrations='demos', delays_s=(0.0, 0.1), domain_id=7, out='elsewhere')
    assert options.command == (
        'chunked-vla bench chunks --demonstrations demos --delays-s 0.0 0.1')


def test_a_switch_is_repeated_without_a_value() -> None:
    assert BenchChunksOptions(demonstrations='demos', with_frames=True).command == (
        'chunked-vla bench chunks --demonstrations demos --with-frames')


def test_every_setting_has_a_log_of_its_own() -> None:
    names = [log_name(source, rate_hz, delay_s) for source in ('g1 episode 1', 'g1 episode 2')
             for rate_hz in (10.0, 20.0) for delay_s in (0.0, 0.1)]
    assert len(set(names)) == 8
    assert names[0] == 'graph_g1_episode_1_10hz_0ms.log'
    assert log_name('../odd name.npy', 20.0, 0.05) == 'graph_odd_name_20hz_50ms.log'


def test_frames_of_a_recording_that_has_none_are_one_line(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.zeros((2000, 42))
    rows[:, 0] = 1.7e18 + 1e6 * np.arange(2000)
    np.save(tmp_path / 'still.npy', rows)
    options = BenchChunksOptions(
        demonstrations=str(tmp_path), out=str(tmp_path / 'out'), robot='g1_arms',
        with_frames=True)
    assert run_bench_chunks(options) == 2
    said = capsys.readouterr().err
    assert 'has cameras none, g1_arms has cam_high; leave out --with-frames' in said
    assert said.count('\n') == 1


@pytest.mark.parametrize('path', ['absent.npy', ''])
def test_unreadable_recording_is_one_line_and_exit_code_2(
        tmp_path: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = BenchChunksOptions(
        demonstrations=str(tmp_path / path), out=str(tmp_path / 'out'))
    assert run_bench_chunks(options) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert str(tmp_path) in said
    assert said.count('\n') == 1
