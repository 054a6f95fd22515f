"""The conversion benchmark: sides take turns, ratios are of pairs, frames are matched by stamp."""

from dataclasses import replace
import json

import pytest

pytest.importorskip('av', reason='PyAV is not installed (extra data)')
pytest.importorskip('PIL', reason='pillow is not installed (extra bench)')
pytest.importorskip('rosbags', reason='rosbags is not installed')

from chunked_vla_ros.bench.convert import BenchConvertOptions, plan, run_bench_convert
from chunked_vla_ros.bench.convert_bags import pictures
from chunked_vla_ros.bench.convert_run import ConvertRun, OURS, OURS_SLOW, PLAIN
from chunked_vla_ros.bench.convert_summary import flat_rows, markdown, rows, speed_up

RUN = ConvertRun(OURS, 2, 100, 1.0, 300_000_000, 12_000.0, 40.0)
RUNS = [RUN, replace(RUN, side=OURS_SLOW, seconds=2.0), replace(RUN, side=PLAIN, seconds=4.0),
        replace(RUN, side=PLAIN, seconds=3.0), replace(RUN, psnr_db=None)]


def test_who_comes_first_changes_from_round_to_round():
    assert plan(3) == [OURS, OURS_SLOW, PLAIN, OURS_SLOW, PLAIN, OURS, PLAIN, OURS, OURS_SLOW]


def test_a_ratio_is_that_of_runs_of_one_round():
    assert speed_up(RUNS, OURS) == [4.0, 3.0]
    assert speed_up(RUNS, OURS_SLOW) == [2.0]


def test_a_cell_is_the_median_with_the_range():
    assert rows(RUNS) == [
        ['frames per second', '100.0', '50.0', '29.2 (25.0 to 33.3)'],
        ['peak memory [MB]', '300', '300', '300'],
        ['video [kB per frame]', '12.0', '12.0', '12.0'],
        ['PSNR [dB]', '40.00', '40.00', '40.00'],
        ['times as fast', '3.50 (3.00 to 4.00)', '2.00', '1']]
    assert flat_rows([RUN, replace(RUN, episodes=200, seconds=2.0)]) == [
        ['2', '100.0', '300'], ['200', '50.0', '300']]
    assert '| times as fast | 3.50 (3.00 to 4.00) | 2.00 | 1 |' in markdown(RUNS, [], 'it')


def test_pictures_of_one_seed_are_the_same_and_move():
    first, second = list(pictures(1, 3, 64, 64)), list(pictures(1, 3, 64, 64))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[0] != first[2]).any()


def test_all_sides_convert_the_same_bags(tmp_path):
    options = BenchConvertOptions(
        episodes=1, frames=12, width=64, height=64, repeats=1, many=0, out=str(tmp_path / 'out'),
        json=str(tmp_path / 'results.json'))
    assert run_bench_convert(options) == 0
    results = json.loads((tmp_path / 'results.json').read_text())
    assert [run['side'] for run in results['runs']] == [OURS, OURS_SLOW, PLAIN]
    for run in results['runs']:
        assert 10 <= run['frames'] <= 12
        # Frames of another row would be 15 dB apart: everything moves.
        assert run['psnr_db'] > 25.0
        assert run['peak_bytes'] > 10_000_000
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'results.json', 'table.md']
