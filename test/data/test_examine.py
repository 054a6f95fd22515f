"""A dataset with cameras, examined and judged: what is wrong with a video is one finding."""

import numpy as np
import pytest

from chunked_vla_ros.core.dataset_checks import check_dataset
from chunked_vla_ros.core.dataset_findings import Grade
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.dataset.check_page import check_page
from chunked_vla_ros.dataset.examine import examine, head_of

VIDEO = 'videos/chunk-000/observation.images.front/episode_000002.mp4'


def judged(root, shown=False):
    dataset, done = open_dataset(root), []
    examined = list(examine(dataset, True, shown, lambda: done.append(1)))
    assert len(done) == len(dataset.episodes)
    report = check_dataset(head_of(dataset), [each.measures for each in examined], DatasetRules())
    return dataset, examined, report


def test_frames_are_measured_and_shown(v2):
    dataset, examined, report = judged(v2, shown=True)
    camera = examined[1].measures.cameras['front']
    assert (camera.frames, camera.same_share) == (6, 0.0)
    assert camera.brightness == pytest.approx(140 + 12.5, abs=3)    # greys 140 to 165
    assert [len(each.strips['front']) for each in examined] == [4, 6]
    page = check_page(v2, dataset, report, examined).render()
    assert page.count('data:image/jpeg;base64,') == 10
    assert [each.lines is None for each in judged(v2)[1]] == [True, True]


def test_a_video_that_is_short_or_gone_is_a_bad_finding_of_its_episode(v2):
    whole = (v2 / VIDEO.replace('000002', '000000')).read_bytes()
    (v2 / VIDEO).write_bytes(whole)
    finding, = (each for each in judged(v2)[2].episodes[1].findings if each.check == 'frames')
    assert finding.grade is Grade.BAD
    assert 'has 4 frames from 0 s on, expected 6' in finding.text
    (v2 / VIDEO).unlink()
    good, gone = judged(v2)[2].episodes
    assert 'is missing' in next(each.text for each in gone.findings if each.check == 'frames')
    assert not any(each.check == 'frames' for each in good.findings)


def test_rewards_and_ages_of_the_table_are_judged(v2, rewrite):
    table = v2 / 'data/chunk-000/episode_000002.parquet'
    rewrite(table, 'age_s.front', [0.01] * 5 + [-0.2])
    rewrite(table, 'next.reward', [0.0] * 5 + [np.inf])
    checks = {each.check for each in judged(v2)[2].episodes[1].findings}
    assert {'future', 'not_finite'} <= checks
