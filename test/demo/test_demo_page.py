"""The demonstration's page states its findings and what they do not say."""

from __future__ import annotations

from collections.abc import Callable
import html
import re

import numpy as np

from chunked_vla_ros.core.motion_record import MotionRecord, StampedMotion
from chunked_vla_ros.demo.demo_page import demo_page, Film, ShownEpisode
from chunked_vla_ros.demo.results import DemoResults, EpisodeResult, GraphHealth, Timing
from chunked_vla_ros.report.film_strip import film_frame

MakeDemo = Callable[..., DemoResults]


def headings(page: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r'<h2>(.*?)</h2>', page)]


def test_headings_state_what_was_found(finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    found = headings(demo_page(finished_demo(), shown, []).render())
    assert found[0] == '1 of 2 episodes failed'
    # The arm's one joint lags by 10 mrad throughout; the gripper does not count.
    assert 'Seed 0: the arm followed its commands within 10.0 mrad rms' in found
    assert 'Half of the chunks moved the arm within 40 ms of their observation' in found


def test_clean_run_says_that_everything_worked(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    results = finished_demo(episodes=finished_demo().episodes[:1])
    assert headings(demo_page(results, shown, []).render())[0] == (
        'Every episode succeeded and the graph shut down cleanly')


def test_killed_process_is_named_with_its_fate(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    results = finished_demo(health=GraphHealth(exit_codes={'sim': 0, 'inference': None}))
    page = demo_page(results, shown, []).render()
    assert 'the graph did not shut down cleanly' in headings(page)[0]
    assert '<td>inference</td><td>killed</td>' in page


def test_page_names_the_policy_and_admits_the_simulation(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    page = demo_page(finished_demo(), shown, []).render()
    assert 'driven by expert' in page
    assert 'not a certified safety function' in page
    assert 'simulated by MuJoCo' in page


def test_page_says_whether_the_policy_saw_the_simulators_state(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    learned = finished_demo(policy={'policy_id': 'small@0123', 'needs_scene': 'False'})
    assert 'no simulator state was used' in demo_page(learned, shown, []).render()
    assert 'reads the poses of the cubes' in demo_page(finished_demo(), shown, []).render()


def test_instruction_from_outside_is_escaped(finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    hostile = EpisodeResult(0, '<b>bold</b>', True, 'success', 1.0, 1)
    film = Film(hostile, 'front', (film_frame(0.0, np.zeros((4, 4, 3), np.uint8), 4),))
    page = demo_page(finished_demo(episodes=(hostile,)), shown, [film]).render()
    assert '<b>' not in page
    assert '&lt;b&gt;bold' in page


def test_replaced_points_of_a_chunk_are_not_drawn(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    page = demo_page(finished_demo(), shown, []).render()
    # Per joint: 8 points of the first chunk (0.4 s at 20 Hz), all 16 of the second.
    joint_plot = next(svg for svg in re.findall(r'<svg.*?</svg>', page) if 'finger_joint' in svg)
    assert joint_plot.count('<circle') == 24


def test_missing_measurements_are_said_and_not_drawn(
        finished_demo: MakeDemo, shown: ShownEpisode) -> None:
    empty = StampedMotion(np.empty(0, np.int64), np.empty((0, 2)))
    nothing = ShownEpisode(
        shown.result, MotionRecord(empty, empty, np.empty(0, np.int64), (), ()),
        shown.joint_names, shown.arm)
    found = headings(demo_page(finished_demo(timing=Timing()), nothing, []).render())
    assert 'No motion was recorded' in found
    assert 'No latency was measured' in found
