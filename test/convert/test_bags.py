"""Which bags are meant: those of a folder in the order of their names, each once."""

from pathlib import Path
import shutil

import pytest

from chunked_vla_ros.convert.bags import find_bags
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.episode_labels import add_label, Label


def names(*paths: Path) -> list[str]:
    return [bag.path.name for bag in find_bags(paths)]


@pytest.fixture
def folder(bags, tmp_path):
    for name in ('bag_10', 'bag_2', 'inner/bag_3', '.trash/bag_4'):
        shutil.copytree(bags / 'bag_0', tmp_path / name)
    return tmp_path


def test_a_folder_means_the_bags_in_it_by_number_without_what_is_hidden(folder):
    assert names(folder) == ['bag_2', 'bag_10', 'bag_3']


def test_a_bag_that_is_named_twice_comes_once_where_it_was_named_first(folder):
    assert names(folder / 'bag_10', folder, folder / 'bag_2') == ['bag_10', 'bag_2', 'bag_3']


def test_a_single_file_is_a_bag(folder):
    assert names(folder / 'bag_2' / 'bag_0.mcap') == ['bag_0.mcap']


def test_a_folder_without_bags_is_a_mistake_and_a_missing_one_a_fault(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(BagError, match=r'empty: no bag in it, expected \.mcap or \.db3'):
        find_bags([tmp_path / 'empty'])
    bag, = find_bags([tmp_path / 'nowhere'])
    assert bag.fault == f'{tmp_path / "nowhere"}: no such file or directory'


def test_a_copy_is_the_same_recording_and_a_label_changes_only_its_state(folder):
    first, second, _ = find_bags([folder])
    assert (first.identity, first.state) == (second.identity, second.state)
    add_label(first.path, Label(Outcome.FAILURE, '', 1))
    labelled = find_bags([first.path])[0]
    assert labelled.identity == first.identity
    assert labelled.state != first.state


def test_another_recording_is_another_one(bags):
    assert len({bag.identity for bag in find_bags([bags])}) == 3
