"""A folder of episodes: lists, labels and the trash, with all that may lie around in it."""

from pathlib import Path
import subprocess
import sys

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest
import yaml

from chunked_vla_ros.core.episode_name import EpisodeNameError
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.core.stream_health import StreamReport
from chunked_vla_ros.data.episode_folder import (
    discard,
    label,
    labels_of,
    list_episodes,
    UnknownEpisodeError,
)
from chunked_vla_ros.data.episode_labels import EpisodeLabelError, Label, LABELS_FILE
from chunked_vla_ros.data.episode_writer import EpisodeWriter

SECOND = 10**9


def record(root: Path, name: str, start_s: int = 100, finish: bool = True) -> Path:
    """Record three messages in 2 s, of which one more was lost and two were dropped."""
    facts = EpisodeFacts(name, task='stack the cubes', operator='Ann')
    writer = EpisodeWriter(root, facts, [StreamSpec('/a', 'a_msgs/msg/A', 'int8 a')])
    for second in range(3):
        stamp_ns = (start_s + second) * SECOND
        writer.write(WireMessage('/a', b'\0\1\0\0\7', stamp_ns, stamp_ns, second))
    if not finish:
        writer.abandon()
        return writer.folder
    report = StreamReport('/a', messages=3, bytes=15, lost=1, dropped=2)
    return writer.finish(Outcome.SUCCESS, Verdict.USABLE, ['/a: 1 lost'], [report])


def test_a_list_says_what_was_recorded_oldest_first(tmp_path: Path) -> None:
    record(tmp_path, 'b', start_s=100)
    record(tmp_path, 'a', start_s=200)
    listing = list_episodes(tmp_path)
    assert [episode.episode_id for episode in listing.episodes] == ['b', 'a']
    assert listing.problems == ()
    first = listing.episodes[0]
    assert (first.path, first.complete) == (tmp_path / 'b', True)
    assert (first.start_ns, first.duration_s, first.messages) == (100 * SECOND, 2.0, 3)
    assert (first.task, first.facts['operator']) == ('stack the cubes', 'Ann')
    assert (first.outcome, first.verdict) == (Outcome.SUCCESS, Verdict.USABLE)
    assert (first.reasons, first.lost, first.dropped) == (('/a: 1 lost',), 1, 2)
    assert first.bytes == (tmp_path / 'b' / 'b_0.mcap').stat().st_size


def test_an_empty_folder_and_one_that_is_not_there_have_no_episodes(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / 'absent'):
        listing = list_episodes(root)
        assert (listing.episodes, listing.problems) == ((), ())


def test_what_is_unfinished_is_listed_and_named_unless_it_is_being_recorded(
        tmp_path: Path) -> None:
    record(tmp_path, 'whole', start_s=5)
    partial = record(tmp_path, 'cut', start_s=1, finish=False)
    listing = list_episodes(tmp_path)
    assert [(each.episode_id, each.complete) for each in listing.episodes] == [
        ('whole', True), ('cut', False)]
    assert listing.problems == (
        f'{partial} is unfinished: rescue it with `chunked-vla bag recover {partial}`',)
    assert listing.episodes[1].bytes > 0
    assert list_episodes(tmp_path, recording='cut').problems == ()


def test_every_broken_directory_has_a_line_and_the_others_are_listed(tmp_path: Path) -> None:
    record(tmp_path, 'whole')
    (tmp_path / 'nothing').mkdir()
    (tmp_path / 'a file').write_text('no directory')
    (tmp_path / '.hidden').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    for name, content in (('zero', b''), ('binary', b'\xff\x00'), ('text', b'no bag'),
                          ('list', b'rosbag2_bagfile_information: [1]')):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'metadata.yaml').write_bytes(content)
    (tmp_path / 'folder' / 'metadata.yaml').mkdir(parents=True)
    (record(tmp_path, 'lacking', start_s=300) / 'lacking_0.mcap').unlink()
    (record(tmp_path, 'mislabeled', start_s=400) / LABELS_FILE).write_text('{')
    listing = list_episodes(tmp_path)
    assert [episode.episode_id for episode in listing.episodes] == [
        'whole', 'lacking', 'mislabeled']
    # What a broken label would have said is unknown; what the recorder said is not.
    assert listing.episodes[2].outcome is Outcome.SUCCESS
    named = [Path(line.split()[0]).relative_to(tmp_path).parts[0] for line in listing.problems]
    assert sorted(named) == [
        'binary', 'folder', 'lacking', 'list', 'mislabeled', 'nothing', 'text', 'zero']
    assert not [line for line in listing.problems if '\n' in line]


def test_a_bag_of_another_recorder_is_listed_as_what_it_is(tmp_path: Path) -> None:
    folder = record(tmp_path, 'theirs')
    text = (folder / 'metadata.yaml').read_text()
    (folder / 'metadata.yaml').write_text(
        text[:text.index('  custom_data:')] + '  custom_data: null\n  ros_distro: jazzy\n')
    episode, = list_episodes(tmp_path).episodes
    assert (episode.messages, episode.outcome, episode.verdict) == (
        3, Outcome.UNLABELED, Verdict.BROKEN)
    assert episode.reasons == (
        'has no verdict of our recorder: check it with `chunked-vla bag verify`',)


@given(content=st.binary(max_size=60), custom=st.text(max_size=30))
@settings(max_examples=80, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture])
def test_no_content_of_a_directory_breaks_the_list(
        tmp_path: Path, content: bytes, custom: str) -> None:
    folder = tmp_path / 'odd'
    folder.mkdir(exist_ok=True)
    (folder / 'metadata.yaml').write_bytes(content)
    other = tmp_path / 'ours'
    if not other.exists():
        record(tmp_path, 'ours')
    (other / LABELS_FILE).write_bytes(content)
    text = (other / 'metadata.yaml').read_text()
    quoted = yaml.safe_dump(custom, default_style='"', width=1000).strip()
    lines = [f'    streams: {quoted}' if line.startswith('    streams:') else line
             for line in text.splitlines()]
    (other / 'metadata.yaml').write_text('\n'.join(lines))
    listing = list_episodes(tmp_path)
    assert [episode.episode_id for episode in listing.episodes] == ['ours']
    assert [str(folder) in line for line in listing.problems].count(True) == 1


def test_the_last_label_counts_and_all_are_kept(tmp_path: Path) -> None:
    folder = record(tmp_path, 'one')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert labels_of(tmp_path, 'one') == ()
    label(tmp_path, 'one', Outcome.FAILURE, 'dropped it ☹', now_ns=7)
    label(tmp_path, 'one', Outcome.UNLABELED, now_ns=8)
    assert labels_of(tmp_path, 'one') == (
        Label(Outcome.FAILURE, 'dropped it ☹', 7), Label(Outcome.UNLABELED, '', 8))
    assert list_episodes(tmp_path).episodes[0].outcome is Outcome.UNLABELED
    # The bag is as it was.
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    del after[LABELS_FILE]
    assert after == before


@pytest.mark.parametrize('name', ['other', 'cut', 'nothing'])
def test_an_episode_that_is_none_cannot_be_labeled(tmp_path: Path, name: str) -> None:
    record(tmp_path, 'cut', finish=False)
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(UnknownEpisodeError) as refused:
        label(tmp_path, name, Outcome.SUCCESS, now_ns=0)
    assert '\n' not in str(refused.value)
    assert ('unfinished' in str(refused.value)) == (name == 'cut')
    assert not list(tmp_path.rglob(LABELS_FILE))


@pytest.mark.parametrize('name', ['../one', '/', '', 'a\0'])
def test_a_name_that_is_a_path_reaches_nothing(tmp_path: Path, name: str) -> None:
    record(tmp_path, 'one')
    root = tmp_path / 'root'
    root.mkdir()
    for act in (lambda: label(root, name, Outcome.SUCCESS, now_ns=0),
                lambda: discard(root, name), lambda: labels_of(root, name)):
        with pytest.raises(EpisodeNameError):
            act()
    assert (tmp_path / 'one').is_dir()


def test_labels_that_cannot_be_read_are_not_replaced(tmp_path: Path) -> None:
    path = record(tmp_path, 'one') / LABELS_FILE
    for content in ('', '{}', '{"labels": 3}', '{"labels": [3]}', '[' * 100_000,
                    '{"labels": [{"outcome": "great"}]}', '{"labels": [{"outcome": []}]}',
                    '{"labels": [{"outcome": "success", "note": 3}]}'):
        path.write_text(content)
        with pytest.raises(EpisodeLabelError, match=r'labels\.json .* move it away'):
            label(tmp_path, 'one', Outcome.SUCCESS, now_ns=0)
        assert path.read_text() == content


def test_a_kill_before_the_new_labels_are_in_place_leaves_the_former(tmp_path: Path) -> None:
    record(tmp_path, 'one')
    label(tmp_path, 'one', Outcome.SUCCESS, 'first', now_ns=1)
    program = """
import os, signal, sys
from pathlib import Path
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.episode_folder import label
def kill(event, given):
    if event == 'os.rename':
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
label(Path(sys.argv[1]), 'one', Outcome.FAILURE, 'second', now_ns=2)
"""
    result = subprocess.run(
        [sys.executable, '-c', program, str(tmp_path)], check=False, timeout=30)
    assert result.returncode == -9
    assert [each.note for each in labels_of(tmp_path, 'one')] == ['first']
    assert len(list((tmp_path / 'one').iterdir())) == 4
    label(tmp_path, 'one', Outcome.FAILURE, 'third', now_ns=3)
    assert [each.note for each in labels_of(tmp_path, 'one')] == ['first', 'third']
    assert len(list((tmp_path / 'one').iterdir())) == 3


def test_labels_that_do_not_fit_on_the_disk_leave_the_former(tmp_path: Path) -> None:
    record(tmp_path, 'one')
    label(tmp_path, 'one', Outcome.SUCCESS, 'first', now_ns=1)
    program = """
import resource, sys
from pathlib import Path
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.episode_folder import label
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    label(Path(sys.argv[1]), 'one', Outcome.FAILURE, 'second ' * 100, now_ns=2)
except OSError as error:
    print(error.filename)
"""
    result = subprocess.run([sys.executable, '-c', program, str(tmp_path)], capture_output=True,
                            text=True, check=True, timeout=30)
    assert result.stdout.strip() == str(tmp_path / 'one' / LABELS_FILE)
    assert [each.note for each in labels_of(tmp_path, 'one')] == ['first']
    assert len(list((tmp_path / 'one').iterdir())) == 3


def test_the_trash_keeps_everything_that_ever_had_the_name(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        record(tmp_path, 'one', start_s=number)
        assert discard(tmp_path, 'one') == tmp_path / '.trash' / f'one.{number}'
    record(tmp_path, 'one', start_s=4, finish=False)
    assert discard(tmp_path, 'one') == tmp_path / '.trash' / 'one.4'
    trash = list_episodes(tmp_path / '.trash')
    starts = [episode.start_ns // SECOND for episode in trash.episodes]
    assert starts == [1, 2, 3]
    assert (tmp_path / '.trash' / 'one.4' / 'one_0.mcap').is_file()
    assert list_episodes(tmp_path).episodes == ()
    with pytest.raises(UnknownEpisodeError, match="has no episode 'one'"):
        discard(tmp_path, 'one')


def test_a_name_taken_in_the_trash_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / '.trash' / 'one.1').mkdir(parents=True)
    (tmp_path / '.trash' / 'one.2').write_text('mine')
    record(tmp_path, 'one')
    assert discard(tmp_path, 'one').name == 'one.3'
    assert (tmp_path / '.trash' / 'one.2').read_text() == 'mine'


def test_a_trash_that_is_a_file_leaves_the_episode(tmp_path: Path) -> None:
    (tmp_path / '.trash').write_text('mine')
    record(tmp_path, 'one')
    with pytest.raises(OSError, match='trash'):
        discard(tmp_path, 'one')
    assert (tmp_path / 'one' / 'metadata.yaml').is_file()
