"""Datasets that we wrote, read through the interface that serves every format."""

import numpy as np
import pytest

from chunked_vla_ros.core.dataset_checks import check_dataset
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.video_writer import VideoEncoding
from chunked_vla_ros.dataset.examine import examine, head_of


@pytest.mark.parametrize('encoding', [None, VideoEncoding(crf=0)], ids=['images', 'video'])
def test_rows_columns_facts_and_frames_come_back(make_episode, make_dataset, encoding):
    episodes = [make_episode(seed) for seed in (1, 2)]
    dataset = open_dataset(make_dataset('ours', *episodes, encoding=encoding))
    assert (dataset.episodes, dataset.fps, dataset.robot_type) == ((0, 1), 30.0, 'tester')
    written, read = episodes[1], dataset.episode(1)
    assert (read.state == written.state).all()
    assert (read.action == written.action).all()
    columns = dataset.columns(1)
    assert (columns['stamp_ns'] == written.times_ns).all()
    assert columns['age_s.front'] == pytest.approx(np.full(6, 0.005))
    assert columns['next.success'].tolist() == [False] * 5 + [True]
    assert columns['intervention'].tolist() == [True] + [False] * 5
    assert set(columns) == {
        'next.reward', 'next.done', 'next.success', 'intervention', 'stamp_ns',
        *(f'{kind}.{stream}' for kind in ('source_stamp_ns', 'age_s')
          for stream in ('state', 'action', 'front'))}
    facts = dataset.facts(1)
    assert (facts['source'], facts['outcome'], facts['action_source'], facts['verdict']) == (
        'bag_2', 'success', 'commanded_point', 'good')
    greys = [frame.mean() for _, frame in dataset.frames(1, 'front')]
    assert greys == pytest.approx([20 + row for row in range(6)], abs=0.0 if not encoding else 2.0)


def test_what_we_wrote_is_judged_by_its_labels_and_ages(make_episode, make_dataset):
    dataset = open_dataset(make_dataset('ours', make_episode(1), make_episode(2)))
    measures = [each.measures for each in examine(dataset, False, False, lambda: None)]
    report = check_dataset(head_of(dataset), measures, DatasetRules())
    assert report.outcomes[Outcome.SUCCESS] == 2
    assert set(measures[0].ages) == {'state', 'action', 'front'}
    assert not any(each.check in ('labels', 'age', 'future', 'not_finite')
                   for each in (*report.findings, *report.episodes[0].findings))
