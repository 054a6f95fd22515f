"""A name that comes over the network is a folder's name and nothing else, or it is refused."""

from pathlib import PurePosixPath
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.episode_name import checked_name, EpisodeNameError, next_name


@pytest.mark.parametrize('name', [
    'episode_000012', 'pick cube 3', 'größe', '掴む_01', 'a' * 100, 'v1.2', 'x..y'])
def test_ordinary_names_pass_unchanged(name):
    assert checked_name(name) == name


@pytest.mark.parametrize(('name', 'why'), [
    ('', 'is empty'),
    ('../x', 'is a path'),
    ('..', 'starts with a dot'),
    ('.', 'starts with a dot'),
    ('/etc/passwd', 'is a path'),
    ('a/b', 'is a path'),
    ('a\\b', 'is a path'),
    ('a\0b', 'cannot be printed'),
    ('a\nb', 'cannot be printed'),
    ('a\x1b[2Jb', 'cannot be printed'),
    ('a\u202eb', 'cannot be printed'),
    ('\ud800', 'cannot be printed'),
    ('.trash', 'starts with a dot'),
    ('x' * 300, 'is 300 bytes long'),
    ('ü' * 51, 'is 102 bytes long'),
    (' x', 'begins or ends with a space'),
    ('x.partial', 'marks an unfinished episode'),
])
def test_harmful_names_are_refused_in_one_line(name, why):
    with pytest.raises(EpisodeNameError, match=why) as refused:
        checked_name(name)
    text = str(refused.value)
    assert text.isprintable()
    assert len(text) < 200


def test_the_same_name_in_two_spellings_is_one_name():
    assert checked_name('o\u0308') == checked_name('ö')


@given(st.text(st.characters(), max_size=120))
def test_what_passes_is_one_component_of_a_path(text):
    try:
        name = checked_name(text)
    except EpisodeNameError:
        return
    root = PurePosixPath('/data')
    assert (root / name).parent == root
    assert name not in ('.', '..')
    assert '\0' not in name
    assert len(name.encode()) <= 100
    assert checked_name(name) == name == unicodedata.normalize('NFC', name)


def test_the_first_episode_has_number_zero():
    assert next_name([]) == 'episode_000000'


def test_the_next_number_is_after_every_other_finished_or_not():
    taken = ['episode_000003', 'episode_000007.partial', 'notes', 'episode_x', '.trash']
    assert next_name(taken) == 'episode_000008'


def test_numbers_of_any_length_count():
    assert next_name(['episode_1000000']) == 'episode_1000001'


@given(st.lists(st.text(max_size=30) | st.integers(0, 10**12).map('episode_{:06d}'.format)))
def test_the_next_name_is_valid_and_free(taken):
    name = next_name(taken)
    assert checked_name(name) == name
    assert name not in taken
