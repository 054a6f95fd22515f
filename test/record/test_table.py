"""The closing table, and when a session was a good one."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.record.table import (
    all_sound,
    complaints,
    episode_table,
    headline,
    MOST_COMPLAINTS,
)


def episode(name: str = 'one', verdict: Verdict = Verdict.GOOD, **given: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        'complete': True, 'duration_s': 6.25, 'outcome': Outcome.SUCCESS, 'messages': 3200,
        'lost': 2, 'dropped': 1, 'bytes': 32_100_000}
    return EpisodeRecord(name, Path(name), verdict=verdict, **(values | given))


@pytest.mark.parametrize(('verdicts', 'sound'), [
    ([], True), ([Verdict.GOOD, Verdict.USABLE], True), ([Verdict.GOOD, Verdict.BROKEN], False)])
def test_a_session_is_sound_if_no_recording_is_broken(
        verdicts: list[Verdict], sound: bool) -> None:
    assert all_sound([episode(verdict=one) for one in verdicts]) is sound


def test_a_task_that_failed_is_a_sound_recording_and_an_unfinished_one_is_not() -> None:
    assert all_sound([episode(outcome=Outcome.FAILURE)])
    assert not all_sound([episode(complete=False)])


def test_a_row_has_the_numbers_of_its_episode() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(episode_table([episode('a[b]c'), episode('two', Verdict.USABLE)]))
    rows = [[cell.strip() for cell in line.strip('│').split('│')]
            for line in capture.get().splitlines() if line.startswith('│')]
    assert rows[0] == ['a[b]c', 'success', 'good', '6.2 s', '3200', '3', '32.1 MB']
    assert rows[1][2] == 'usable'


def test_the_table_fits_into_eighty_columns() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(episode_table([episode('episode_000000', messages=1_234_567)]))
    assert '…' not in capture.get()
    assert 'episode_000000' in capture.get()
    assert '1234567' in capture.get()


def test_the_headline_adds_up() -> None:
    assert headline([episode(), episode(outcome=Outcome.FAILURE, verdict=Verdict.USABLE)]) == (
        '2 episodes, 1 success, 1 failure, 1 good, 1 usable, 6 messages lost, 64.2 MB')
    assert headline([]).startswith('0 episodes')


def test_the_worst_recordings_are_named_first_and_not_all_of_them() -> None:
    flawed = [episode(f'u{i}', Verdict.USABLE, reasons=('slow',)) for i in range(20)]
    lines = complaints([episode('good'), *flawed,
                        episode('bad', Verdict.BROKEN, reasons=('silent', 'disk'))])
    assert lines[0] == 'bad is broken: silent; disk'
    assert lines[1] == 'u0 is usable: slow'
    assert len(lines) == MOST_COMPLAINTS + 1
    assert lines[-1] == 'and 11 more that are not good'
