"""Mistakes in the benchmark's options are one line; a robot-free part of its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunked_vla_ros.bench.chunks import BenchChunksOptions, run_bench_chunks
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
