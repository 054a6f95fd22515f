"""
An evaluation's HTML page: what succeeded, where, on which words, and what a failure looks like.

Turns results into the vocabulary of `report`; measures and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chunked_vla_ros.evaluate.films import EpisodeFilm
from chunked_vla_ros.evaluate.results import EvaluationResults, PolicyResults
from chunked_vla_ros.evaluate.screen import compared, in_words, number, ROWS
from chunked_vla_ros.evaluate.share import Share
from chunked_vla_ros.report.film_strip import film_strip
from chunked_vla_ros.report.markup import (
    badge,
    bullets,
    element,
    Figure,
    figures,
    Markup,
    note,
    paragraph,
    table,
)
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, histogram, line_plot, plots, Series

SUCCEEDED, FAILED = 2, 1
LIMITS = (
    ('Robot, cameras and cubes are simulated by MuJoCo: contact, light and noise are those of the '
     'simulator, not of a laboratory.'),
    ("The policy 'expert' reads the poses of the cubes from the simulator, which no real robot "
     'offers. A bundle sees pictures, joints and the instruction, nothing else.'),
    ('Intervals are 95 % by Wilson and say what chance leaves open for these start positions and '
     'words; they say nothing about others.'))
SIMULATED_TIME = (
    'In process, time is simulated: an inference takes the latency stated above whatever it took '
    'on this machine, and no message is late or lost. --through-ros runs the same starts over '
    'the real graph.')


def evaluation_page(results: EvaluationResults, films: Sequence[EpisodeFilm]) -> Page:
    """Return the page; ``films`` may be empty."""
    page = Page(headline(results), f'{results.position_set} start positions; {results.command}')
    labels = [policy.label for policy in results.policies]
    page.add(_verdict(results), figures(_figures(results)), table(
        ['', *labels], [[name, *(tell(one) for one in results.policies)]
                     for name, tell in ROWS.items()]))
    for warning in filter(None, (one.warning for one in results.policies)):
        page.add('Inferences were assumed to be quicker than they were', paragraph(warning))
    if results.missing_controls:
        page.add('No control of the same budget was run', *map(note, results.missing_controls))
    for one in results.comparisons:
        page.add(f'{one.first} and {one.second} met the same starts', paragraph(compared(one)))
    _add_positions(page, results)
    _add_instructions(page, results)
    for film in films:
        page.add(
            f'{film.label}, seed {film.record.seed}: “{film.record.instruction}” '
            f'{"succeeded" if film.record.success else "failed"} '
            f'after {film.record.duration_s:.1f} s',
            film_strip(film.frames, film.camera))
    _add_times(page, results)
    page.add('Every episode', _episodes(results))
    page.add('What these numbers do not say', bullets(
        (*LIMITS, SIMULATED_TIME)))
    page.add('How to repeat it', paragraph(element('code', results.command)),
             table(['assumed', 'value'], list(results.timing.items())),
             table(['component', 'version'], list(results.versions.items())))
    return page


def headline(results: EvaluationResults) -> str:
    """Return the finding in one line."""
    return '; '.join(
        f'{one.label}: {one.success.k} of {one.success.n} episodes succeeded'
        for one in results.policies)


def _verdict(results: EvaluationResults) -> str:
    return ' and '.join(
        f'{one.label} succeeds in {low:.0%} to {high:.0%} of such episodes'
        for one in results.policies if one.success.interval
        for low, high in (one.success.interval,)) or ' and '.join(
        f'{one.label} is right both times in {low:.0%} to {high:.0%} of such pairs'
        for one in results.policies if one.language and one.language.both_right.interval
        for low, high in (one.language.both_right.interval,)) or 'Nothing was compared'


def _figures(results: EvaluationResults) -> list[Figure]:
    shown = []
    for one in results.policies:
        right = one.language.right_cube if one.language else one.right_cube
        shown += [Figure(f'success, {one.label}', *_parts(one.success)),
                  Figure(f'named cube taken, {one.label}', *_parts(right))]
        if one.language:
            shown.append(Figure(
                f'right both times, {one.label}', *_parts(one.language.both_right)))
    return shown


def _parts(share: Share) -> tuple[str, str]:
    if share.interval is None:
        return 'not measured', ''
    return (f'{share.k} / {share.n}',
            f'95 % interval {share.interval[0]:.2f} to {share.interval[1]:.2f} (Wilson)')


def _add_positions(page: Page, results: EvaluationResults) -> None:
    drawn = [_positions(one) for one in results.policies
             if any(episode.cube_x_m is not None for episode in one.episodes)]
    if drawn:
        page.add('Where the named cube began', plots(*drawn), paragraph(
            'Seen from above, the robot at the bottom looking up: x points away from it, y to its '
            'left.'))


def _positions(policy: PolicyResults) -> Markup:
    placed = [one for one in policy.episodes if one.cube_x_m is not None]
    series = [
        Series(label, [-(one.cube_y_m or 0.0) for one in placed if one.success is success],
               [one.cube_x_m or 0.0 for one in placed if one.success is success], colour,
               'dots')
        for label, success, colour in (('success', True, SUCCEEDED), ('failure', False, FAILED))]
    return line_plot(
        Frame(policy.label, 'minus y [m]', 'x [m]', width=440, height=360),
        [one for one in series if len(one.x)])  # type: ignore[arg-type]


def _add_instructions(page: Page, results: EvaluationResults) -> None:
    texts = sorted({text for one in results.policies for text in one.by_instruction})
    if texts:
        page.add('Success per instruction', table(
            ['instruction', *(one.label for one in results.policies)],
            [[text, *(in_words(one.by_instruction.get(text, Share(0, 0)))
                      for one in results.policies)] for text in texts]))
    listening = [one for one in results.policies if one.language]
    if listening:
        page.add('One scene, two instructions', table(
            ['policy', 'named cube lifted first', 'right both times', 'same cube both times',
             'success'],
            [[one.label, *(in_words(share) for share in (
                one.language.right_cube, one.language.both_right, one.language.same_cube,
                one.language.success))] for one in listening if one.language]), paragraph(
            'Each start was run twice with the same pad and two cubes; all three cubes were on '
            'the table. An episode in which no cube was lifted counts as wrong. Pairs are '
            'independent of each other, the two episodes of a pair are not: the interval of '
            '“right both times” is the one to go by, the others are too narrow.'))


def _add_times(page: Page, results: EvaluationResults) -> None:
    drawn = []
    for one in results.policies:
        times = [episode.duration_s for episode in one.episodes if episode.success]
        wall = [1e3 * time_s for episode in one.episodes for time_s in episode.plan_wall_s]
        if times:
            drawn.append(histogram(Frame(one.label, 'cycle time [s]', 'episodes'), times))
        if wall:
            drawn.append(histogram(
                Frame(one.label, 'wall time of an inference [ms]', 'inferences'), wall))
    if drawn:
        page.add('How long it takes', plots(*drawn))


def _episodes(results: EvaluationResults) -> Markup:
    rows = [
        [policy.label, one.seed, one.instruction,
         badge('success' if one.success else 'failure', one.success), one.termination,
         f'{one.duration_s:.2f}', one.first_lifted or '-', number(one.cube_to_pad_m, '.3f'),
         one.refused, one.holds, one.clamps, one.message]
        for policy in results.policies for one in (*policy.episodes, *policy.paired)]
    return table(
        ['policy', 'seed', 'instruction', 'outcome', 'ended by', 'duration [s]', 'first lifted',
         'cube to pad [m]', 'refused', 'holds', 'clamps', 'message'], rows)
