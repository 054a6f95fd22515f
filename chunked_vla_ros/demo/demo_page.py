"""
The demonstration's HTML page: what was found, what moved, how late, what is only simulated.

Turns results into the vocabulary of `report`; measures and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.motion_record import MotionRecord
from chunked_vla_ros.core.statistics import interpolate, tracking_error
from chunked_vla_ros.core.types import ActionChunk, FloatArray
from chunked_vla_ros.demo.results import DemoResults, EpisodeResult
from chunked_vla_ros.demo.summary import headline, milliseconds, totals
from chunked_vla_ros.report.film_strip import film_strip, FilmFrame
from chunked_vla_ros.report.markup import (
    badge,
    bullets,
    element,
    figures,
    Markup,
    note,
    paragraph,
    table,
)
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, histogram, line_plot, plots, Series

PLANNED, COMMANDED, MEASURED = 2, 0, 1
# A joint that stands still is drawn as one.
LEAST_SPAN_RAD = 0.1
LIMITS = (
    ('The robot, its cameras and the cubes are simulated by MuJoCo; contact and camera noise are '
     'those of the simulator, not of a laboratory.'),
    'Latencies were measured on the machine named below beside everything else it was doing.',
    'The executor keeps limits and stops in order, but it is not a certified safety function.')
EXPERT_LIMIT = (
    'The scripted expert reads the poses of the cubes from the simulator. No real robot offers '
    'them: its success rate says that the loop works, not how well a learned policy acts.')
BUNDLE_NOTE = (
    'The policy saw pictures, joints and the instruction; no simulator state was used. It was '
    'trained on this simulator: on a real robot it would have to be trained on that robot.')


@dataclass(frozen=True)
class ShownEpisode:
    """
    One episode in detail.

    :ivar joint_names: J names, the order of the motion's columns.
    :ivar arm: Columns of the arm; a gripper is stopped by what it grasps and follows nothing.
    """

    result: EpisodeResult
    motion: MotionRecord
    joint_names: tuple[str, ...]
    arm: tuple[int, ...]


@dataclass(frozen=True)
class Film:
    """The pictures of one episode."""

    result: EpisodeResult
    camera: str
    frames: tuple[FilmFrame, ...]


def demo_page(results: DemoResults, shown: ShownEpisode, films: Sequence[Film]) -> Page:
    """Return the page; ``films`` may be empty, the rest of the page stands without them."""
    page = Page(headline(results), f'{results.position_set} start positions; {results.command}')
    page.add(_verdict(results), figures(totals(results)))
    for film in films:
        page.add(
            f'Seed {film.result.seed}: “{film.result.instruction}” '
            f'{"succeeded" if film.result.success else "failed"} '
            f'after {film.result.cycle_time_s:.1f} s',
            film_strip(film.frames, film.camera),
            paragraph(f'{film.camera} camera, times since the policy was started.'))
    _add_motion(page, shown)
    _add_latency(page, results)
    page.add('Every episode', _episodes(results))
    page.add('Which policy drove', table(
        ['field', 'value'], [pair for pair in results.policy.items() if pair[1]]))
    page.add('What these numbers do not say', bullets(
        (EXPERT_LIMIT if results.reads_scene else BUNDLE_NOTE, *LIMITS)))
    page.add('How to repeat it', paragraph(element('code', results.command)),
             table(['component', 'version'], list(results.versions.items())),
             table(['process', 'exit code'], [
                 [name, 'killed' if code is None else code]
                 for name, code in results.health.exit_codes.items()]))
    return page


def _verdict(results: DemoResults) -> str:
    if results.worked and results.successes == results.trials:
        return 'Every episode succeeded and the graph shut down cleanly'
    failed = results.trials - results.successes
    faults = [f'{failed} of {results.trials} episodes failed'] if failed else []
    if not results.health.shut_down_cleanly:
        faults.append('the graph did not shut down cleanly')
    return ' and '.join(faults).capitalize()


def _episodes(results: DemoResults) -> Markup:
    return table(
        ['seed', 'instruction', 'outcome', 'ended by', 'cycle time [s]', 'chunks', 'message'],
        [[one.seed, one.instruction, badge('success' if one.success else 'failure', one.success),
          one.termination, f'{one.cycle_time_s:.2f}', one.chunks, one.message]
         for one in results.episodes])


def _add_motion(page: Page, shown: ShownEpisode) -> None:
    motion = shown.motion
    if motion.measured.times_ns.size < 2 or not any(s.position.size for s in motion.executor):
        page.add('No motion was recorded', note('The executor or the robot published nothing.'))
        return
    samples = [sample for sample in motion.executor if sample.position.size]
    stamps = np.array([sample.stamp_ns for sample in samples], np.int64)
    commanded, origin_ns = np.array([sample.position for sample in samples]), int(stamps[0])
    arm, measured = list(shown.arm), motion.measured
    error = tracking_error(
        stamps, commanded[:, arm], measured.times_ns, measured.positions[:, arm])
    drawn = []
    for joint, name in enumerate(shown.joint_names):
        frame = Frame(
            name, 'time [s]', 'angle [rad]', width=400, height=230, least_span=LEAST_SPAN_RAD)
        drawn.append(line_plot(frame, [
            Series('planned', *_planned(motion.chunks, name, origin_ns), PLANNED, 'points'),
            Series('commanded', _seconds(stamps, origin_ns), commanded[:, joint], COMMANDED),
            Series('measured', _seconds(measured.times_ns, origin_ns),
                   measured.positions[:, joint], MEASURED)]))
    page.add(
        f'Seed {shown.result.seed}: the arm followed its commands within '
        f'{error.rms_rad * 1e3:.1f} mrad rms',
        paragraph(
            'Planned: the points of every chunk until the next one took over. Commanded: the '
            'executor curve through them, within the limits. Measured: joint_states. All by '
            'their own time stamps.'), plots(*drawn), _following(shown, stamps, commanded))


def _following(shown: ShownEpisode, stamps: np.ndarray, commanded: FloatArray) -> Markup:
    measured = shown.motion.measured
    inside = (stamps >= measured.times_ns[0]) & (stamps <= measured.times_ns[-1])
    actual = interpolate(measured.times_ns, measured.positions, stamps[inside])
    difference = (commanded[inside] - actual) * 1e3
    return line_plot(
        Frame('commanded minus measured', 'time [s]', 'difference [mrad]', width=1080), [
            Series(
                shown.joint_names[joint], _seconds(stamps[inside], stamps[0]),
                difference[:, joint], joint)
            for joint in shown.arm])


def _planned(chunks: Sequence[ActionChunk], joint: str,
             origin_ns: int) -> tuple[FloatArray, FloatArray]:
    """Return times [s] and targets [rad] of the points that no later chunk replaced."""
    times, targets = [], []
    for chunk, successor in zip(chunks, [*chunks[1:], None], strict=True):
        due = chunk.start_ns + chunk.offsets_ns
        kept = due < successor.start_ns if successor else np.full(due.shape, True)
        times.append(_seconds(due[kept], origin_ns))
        targets.append(chunk.positions[kept, chunk.joint_names.index(joint)])
    return np.concatenate(times or [np.empty(0)]), np.concatenate(targets or [np.empty(0)])


def _add_latency(page: Page, results: DemoResults) -> None:
    latency = np.array(results.timing.observation_to_command_s) * 1e3
    if latency.size == 0:
        page.add('No latency was measured', note('The executor reported no executed chunk.'))
        return
    page.add(
        f'Half of the chunks moved the arm within {np.median(latency):.0f} ms of their '
        'observation',
        plots(
            histogram(Frame('all chunks', 'observation to command [ms]', 'chunks'), latency),
            line_plot(
                Frame('in order', 'chunk', 'observation to command [ms]'),
                [Series('latency', np.arange(latency.size), latency, style='points')])),
        paragraph(
            'Observation stamp to the first command that follows the chunk. Executor lateness: '
            f'p50 {milliseconds(results.timing.lateness_p50_s)}, '
            f'p99 {milliseconds(results.timing.lateness_p99_s)}.'))


def _seconds(stamps: np.ndarray, origin_ns: int) -> FloatArray:
    return (stamps - origin_ns) / 1e9
