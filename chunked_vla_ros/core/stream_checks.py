"""
Checks of times and cameras: rate, gaps, ages of samples, frames that are missing, black or frozen.

Works on an episode's measures and on what is usual in its dataset; knows no file.
"""

from __future__ import annotations

from collections.abc import Iterator

from chunked_vla_ros.core.camera_measures import CameraMeasures
from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures
from chunked_vla_ros.core.dataset_norms import DatasetNorms, FEWEST_EPISODES
from chunked_vla_ros.core.dataset_rules import DatasetRules

# Recordings that are a bit ahead by rounding only are not from the future.
ROUNDING_S = 1e-6


def check_times(found: EpisodeMeasures, norms: DatasetNorms,
                rules: DatasetRules) -> Iterator[Finding]:
    """Yield what is wrong with the rows' times and with the ages of what they use."""
    period_s, times = 1.0 / norms.head.fps, found.times
    if norms.head.timed and found.rows > 1:
        off = abs(period_s / times.period_s - 1.0)
        if off > rules.rate_tolerance:
            yield Finding(
                'rate', Grade.SUSPECT,
                f'rows come at {1.0 / times.period_s:.4g} Hz, the dataset says '
                f'{norms.head.fps:g} Hz', off, rules.rate_tolerance, '',
                'convert it again at the rate that it has')
        gap_s = max(rules.gap_periods * period_s, rules.gap_floor_s)
        if times.largest_gap_s > gap_s:
            yield Finding(
                'gap', Grade.BAD if times.largest_gap_s > max(rules.bad_gap_s, gap_s)
                else Grade.SUSPECT,
                f'nothing for {times.largest_gap_s:.3f} s before row {times.gap_row}',
                times.largest_gap_s, gap_s, 's', 'split the episode there, or delete it')
    for stream, ages in found.ages.items():
        allowed_s = norms.tolerances_s.get(
            stream, max(rules.age_periods * period_s, rules.age_floor_s))
        if ages.smallest_s < -ROUNDING_S:
            yield Finding(
                'future', Grade.BAD,
                f'{stream} is from {-ages.smallest_s:.3f} s after the row that uses it',
                -ages.smallest_s, 0.0, 's', 'convert it again: a policy cannot see the future')
        if ages.p99_s > allowed_s:
            yield Finding(
                'age', Grade.SUSPECT,
                f'{stream} is up to {ages.largest_s:.3f} s old, {ages.p99_s:.3f} s at 1 % of '
                'rows', ages.p99_s, allowed_s, 's',
                'check rate and time base of the stream in the robot contract')
    if found.broken_columns:
        yield Finding(
            'not_finite', Grade.BAD, f'{", ".join(found.broken_columns[:5])} not finite',
            len(found.broken_columns), 0, '', 'delete the episode, or convert it again')


def check_cameras(found: EpisodeMeasures, norms: DatasetNorms,
                  rules: DatasetRules) -> Iterator[Finding]:
    """Yield what is wrong with the pictures of an episode."""
    for name, camera in found.cameras.items():
        if camera.error:
            yield Finding('frames', Grade.BAD, camera.error, camera.frames, found.rows, '',
                          'fetch or convert it again, or delete the episode')
            continue
        yield from _light(name, camera, rules)
        yield from _stillness(name, camera, found, norms, rules)
        usual = norms.sharpness.get(name, 0.0)
        if norms.readable >= FEWEST_EPISODES and camera.sharpness < rules.blur_ratio * usual:
            yield Finding(
                'blurred', Grade.SUSPECT,
                f'{name} is blurred: {camera.sharpness / usual:.2f} of its usual sharpness',
                camera.sharpness / usual, rules.blur_ratio, '',
                'clean and focus the camera, look at the pictures')


def _light(name: str, camera: CameraMeasures, rules: DatasetRules) -> Iterator[Finding]:
    for check, share, word in (('black', camera.dark_share, 'black'),
                               ('overexposed', camera.bright_share, 'mostly white')):
        if share > rules.black_share:
            yield Finding(
                check, Grade.BAD if share > 0.9 and check == 'black' else Grade.SUSPECT,
                f'{name} is {word} in {share:.0%} of its frames', share, rules.black_share, '',
                'check exposure and lens of the camera, delete the episode')


def _stillness(name: str, camera: CameraMeasures, found: EpisodeMeasures, norms: DatasetNorms,
               rules: DatasetRules) -> Iterator[Finding]:
    same = found.frozen.get(name)
    if norms.head.timed and same is not None and same.duration_s > rules.frozen_s:
        yield Finding(
            'frozen', Grade.SUSPECT,
            f'{name} shows one picture for {same.duration_s:.2f} s from row {same.first} on while '
            'the robot moves', same.duration_s, rules.frozen_s, 's',
            "check the camera's driver, delete the episode or cut it")
    if camera.frames > 1 and camera.travel < rules.least_travel and camera.dark_share < 1.0:
        yield Finding(
            'still_picture', Grade.SUSPECT, f'{name} shows the same scene all the time',
            camera.travel, rules.least_travel, 'grey levels',
            'check that the camera is not stuck and sees the robot')
