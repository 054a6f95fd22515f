"""
The thresholds of the dataset checks, each with its reason: from real demonstrations.

Measured on teleoperated Unitree G1, Franka FR3 and WidowX recordings; "real" below means these.
Knows no dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter


@dataclass(frozen=True)
class DatasetRules:
    """What counts as suspect or bad."""

    gap_periods: float = parameter(
        3.0, 'rows further apart than so many periods are a gap; real: up to 4.3 at 1 kHz',
        minimum=1.5, maximum=1000.0)
    gap_floor_s: float = parameter(
        0.1, 'pauses up to here in [s] are a busy machine, whatever the rate',
        minimum=0.0, maximum=60.0)
    bad_gap_s: float = parameter(
        1.0, 'a pause of so long in [s] hides a motion: bad', minimum=0.0, maximum=600.0)
    rate_tolerance: float = parameter(
        0.1, "share by which rows may be off the dataset's rate; real: 0.06",
        minimum=0.001, maximum=1.0)
    age_periods: float = parameter(
        3.0, 'a stream older than so many periods at a row is stale; with a robot contract its '
        'tolerance counts instead', minimum=1.0, maximum=1000.0)
    age_floor_s: float = parameter(
        0.1, 'ages up to here in [s] are allowed at any rate', minimum=0.0, maximum=60.0)
    stuck_s: float = parameter(
        1.0, 'the state may be equal to the last digit so long in [s] while the action moves; '
        'real: 0.007', minimum=0.0, maximum=600.0)
    jump_steps: float = parameter(
        12.0, "a step of so many times the joint's 99 % step is a jump; real: up to 4.9",
        minimum=2.0, maximum=1e6)
    jump_typical: float = parameter(
        20.0, 'in short episodes: so many times the largest step that is typical of the dataset; '
        'real: up to 8', minimum=2.0, maximum=1e6)
    jump_share: float = parameter(
        0.1, "jumps are at least this share of the joint's range in the dataset",
        minimum=0.0, maximum=1.0)
    limit_speed: float = parameter(
        1.5, "times a joint's velocity limit that noise may reach: beyond is suspect, twice that "
        'is bad', minimum=1.0, maximum=100.0)
    limit_margin: float = parameter(
        0.02, "share of a joint's range by which a position may be outside its limits",
        minimum=0.0, maximum=1.0)
    short_ratio: float = parameter(
        3.0, 'episodes so many times shorter or longer than the median are outliers; real: 1.3',
        minimum=1.1, maximum=1000.0)
    black_share: float = parameter(
        0.1, 'share of black or blown-out frames', minimum=0.0, maximum=1.0)
    blur_ratio: float = parameter(
        0.3, "sharpness below this share of the camera's median is blurred; real: above 0.65",
        minimum=0.0, maximum=1.0)
    frozen_s: float = parameter(
        0.5, 'frames may be equal so long in [s] while the robot moves; real: one repeat, 0.03',
        minimum=0.0, maximum=600.0)
    least_travel: float = parameter(
        12.0, 'grey levels that a coarse picture changes at least in an episode; real: above 110; '
        'a still scene: 6', minimum=0.0, maximum=255.0)
    related: float = parameter(
        0.3, 'correlation of action and state below which they have nothing to do with each '
        'other; real: above 0.66', minimum=0.0, maximum=1.0)
