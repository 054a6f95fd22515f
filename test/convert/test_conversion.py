"""A dataset appears whole or not at all, whatever is killed, stopped, full or damaged."""

from dataclasses import replace
import os
from pathlib import Path
import resource
import shutil
import signal

import pyarrow.parquet as pq
import pytest

from chunked_vla_ros.convert import conversion as conversion_module
from chunked_vla_ros.convert.conversion import convert
from chunked_vla_ros.convert.journal import ConversionError, Journal
from chunked_vla_ros.convert.plan import StoppedError
from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.episode_labels import add_label, Label
from chunked_vla_ros.data.video_writer import VideoEncoding


def run(asked, tell=lambda standing: None, stop=lambda: False):
    return convert(asked, tell, stop)


def partial(asked):
    return asked.out.with_name('out.partial')


def sources(out):
    return [source for file in sorted((out / 'meta/episodes').rglob('*.parquet'))
            for source in pq.read_table(file, columns=['source'])['source'].to_pylist()]


def workers():
    """Return the workers that this process has started."""
    return [int(pid) for task in Path('/proc/self/task').iterdir()
            for pid in (task / 'children').read_text().split()
            if b'convert.worker' in Path(f'/proc/{pid}/cmdline').read_bytes()]


def test_the_bags_become_episodes_in_their_order(conversion, undisturbed, content):
    asked = conversion(workers=2)
    standing = run(asked)
    assert standing.published
    assert not partial(asked).exists()
    assert sources(asked.out) == ['bag_0', 'bag_1', 'bag_2']
    dataset = open_dataset(asked.out)
    rows = [len(dataset.episode(index).times_s) for index in dataset.episodes]
    assert rows == [standing.results[number].rows for number in range(3)]
    assert [len(list(dataset.frames(index, 'front'))) for index in range(3)] == rows
    # With two workers as with one.
    assert content(asked.out) == undisturbed


def test_what_is_there_is_never_overwritten(conversion):
    asked = conversion()
    asked.out.mkdir()
    with pytest.raises(ConversionError, match=r'out: exists already, name a new folder or use'):
        run(asked)
    assert not partial(asked).exists()


def test_what_was_done_before_a_stop_is_not_done_again(conversion, undisturbed, content):
    asked = conversion()
    seen = []
    with pytest.raises(StoppedError):
        run(asked, lambda standing: seen.append(len(standing.results)), lambda: seen[-1] >= 1)
    assert not asked.out.exists()
    done = {path.stat().st_ino for path in partial(asked).rglob('*.mp4')
            if path.parent.name == '0'}
    standing = run(asked)
    assert len(standing.results) == 3
    # The videos are the very files.
    assert done
    assert done <= {path.stat().st_ino for path in asked.out.rglob('*.mp4')}
    assert content(asked.out) == undisturbed


def test_after_a_refusal_nothing_is_made_unless_it_may_be_left_out(
        conversion, bags, tmp_path, undisturbed, content):
    broken = tmp_path / 'broken'
    shutil.copytree(bags / 'bag_0', broken)
    file = broken / 'bag_0.mcap'
    file.write_bytes(file.read_bytes()[:20_000])
    asked = conversion(bags, broken)
    standing = run(asked)
    assert (standing.published, standing.refused) == (False, 1)
    assert not asked.out.exists()
    assert str(broken) in standing.results[3].refused
    assert '\n' not in standing.results[3].refused
    standing = run(replace(asked, skip_bad=True))
    assert (standing.published, standing.refused) == (True, 1)
    assert sources(asked.out) == ['bag_0', 'bag_1', 'bag_2']


def test_where_nothing_can_be_converted_nothing_is_left_behind(conversion, bags, tmp_path):
    (tmp_path / 'bad.mcap').write_bytes(b'nothing')
    asked = conversion(tmp_path / 'bad.mcap')
    assert run(asked).refused == 1
    assert not partial(asked).exists()
    assert not asked.out.exists()


def test_a_copy_of_a_bag_is_no_second_episode(conversion, bags, tmp_path):
    shutil.copytree(bags / 'bag_0', tmp_path / 'copy')
    standing = run(conversion(bags / 'bag_0', tmp_path / 'copy'))
    assert [standing.results[number].present for number in (0, 1)] == [False, True]
    assert sources(tmp_path / 'out') == ['bag_0']


def test_a_worker_that_is_killed_takes_one_bag_with_it(conversion):
    asked = conversion()
    killed = []

    def kill_first(standing):
        if not killed:
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)

    standing = run(asked, kill_first)
    refused, = (result.refused for result in standing.results.values() if result.refused)
    assert 'its worker ended by SIGKILL' in refused
    assert sum(result.episodes for result in standing.results.values()) == 2
    assert not asked.out.exists()
    assert run(asked).published


def test_under_other_settings_it_does_not_go_on(conversion):
    asked = conversion()
    with pytest.raises(StoppedError):
        run(asked, stop=lambda: True)
    other = replace(asked, rules=ConversionRules(fps=15.0))
    with pytest.raises(ConversionError, match=r'was begun with fps null, now it is 15\.0: use'):
        run(other)
    with pytest.raises(ConversionError, match=r'was begun with video \{"codec": "h264"'):
        run(replace(asked, encoding=VideoEncoding('av1')))


def test_two_at_once_do_not_disturb_each_other(conversion):
    asked = conversion()
    asked.out.with_name('out.partial').mkdir()
    with Journal(asked.out, {}), pytest.raises(ConversionError, match='another conversion is at'):
        run(asked)


def test_on_a_full_disk_what_is_done_is_kept(conversion, undisturbed, content):
    asked = conversion()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        with pytest.raises((ConversionError, OSError), match='too large'):
            run(asked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not asked.out.exists()
    run(asked)
    assert content(asked.out) == undisturbed


def test_appending_adds_what_is_new_and_leaves_out_what_is_there(conversion, bags, content):
    first = conversion(bags / 'bag_0')
    run(first)
    former = content(first.out)
    more = conversion(append=True)
    standing = run(more)
    assert [result.present for _, result in sorted(standing.results.items())] == [
        True, False, False]
    assert sources(first.out) == ['bag_0', 'bag_1', 'bag_2']
    table = 'data/chunk-000/file-000.parquet'
    assert content(first.out)[table] == former[table]
    last = open_dataset(first.out).episode(2)
    assert last.state.shape[1] == 6
    standing = run(more)
    assert all(result.present for result in standing.results.values())
    assert not standing.published
    assert not partial(more).exists()


def test_a_kill_just_after_appending_does_not_append_twice(conversion, bags, monkeypatch):
    run(conversion(bags / 'bag_0'))
    more = conversion(bags / 'bag_1', append=True)

    class Killed(BaseException):
        pass

    def die(journal):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(conversion_module.Journal, 'forget', die)
        with pytest.raises(Killed):
            run(more)
    assert sources(more.out) == ['bag_0', 'bag_1']
    standing = run(more)
    assert standing.published
    assert sources(more.out) == ['bag_0', 'bag_1']
    assert not partial(more).exists()


def test_appending_under_another_codec_is_refused(conversion, bags):
    run(conversion(bags / 'bag_0'))
    standing = run(conversion(bags / 'bag_1', append=True, encoding=VideoEncoding('av1')))
    assert not standing.published
    assert 'is encoded as av1, expected h264 as ' in standing.results[0].refused


def test_a_recording_labelled_anew_is_converted_anew(conversion, bags, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(bags / 'bag_0', copy)
    with pytest.raises(StoppedError):
        run(conversion(copy),
            stop=lambda: bool(list((tmp_path / 'out.partial').rglob('result.json'))))
    add_label(copy, Label(Outcome.SUCCESS, '', 1))
    run(conversion(copy))
    found = pq.read_table(tmp_path / 'out/meta/episodes/chunk-000/file-000.parquet')
    assert found['outcome'].to_pylist() == ['success']
