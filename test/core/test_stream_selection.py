"""What is recorded: the contract, a list and patterns, less what is excluded."""

from contextlib import suppress
from dataclasses import replace
import re

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.recording import Compression
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.stream_selection import (
    Codec,
    codecs,
    contract_wishes,
    graph_wishes,
    patterns,
    Selection,
    SelectionError,
    Wish,
)


def test_the_contract_names_joints_cameras_and_what_drives(make_robot):
    camera = CameraSpec('front', StreamSpec('cameras/front/image_raw', 20.0, TimeBase.HEADER, 0.2),
                        'cameras/front/camera_info', 8, 4, 'rgb8')
    wishes = contract_wishes(replace(make_robot(), cameras=(camera,)))
    assert wishes['joint_states'] == Wish(100.0, required=True)
    assert wishes['cameras/front/image_raw'] == Wish(20.0, required=True)
    assert wishes['cameras/front/camera_info'] == wishes['position_command'] == Wish()


def test_what_the_graph_says_is_recorded_if_it_comes():
    for topic in ('instruction', 'action_chunk', 'executor_state', 'teleop/joint_targets',
                  'episode_event', 'policy_info', 'scene', 'emergency_stop', '/diagnostics'):
        assert graph_wishes()[topic] == Wish()


def test_a_topic_is_recorded_if_named_or_matched_and_not_excluded():
    selection = Selection(
        {'/joint_states': Wish(100.0, True), '/noisy': Wish()},
        patterns(['/force/.*'], 'patterns'), patterns(['/noisy', '.*/raw'], 'exclude'))
    assert selection.wish('/joint_states') == Wish(100.0, True)
    assert selection.wish('/force/left') == Wish()
    assert selection.wish('/force/raw') is None
    assert selection.wish('/noisy') is None
    assert selection.wish('/other') is None
    assert selection.wish('/x/force/left') is None    # whole names match
    assert selection.expected() == ['/joint_states']


def test_an_excluded_topic_is_not_waited_for():
    selection = Selection({'/joint_states': Wish(100.0, True)},
                          exclude=patterns(['/joint_states'], 'exclude'))
    assert selection.expected() == []


def test_codecs_are_read_with_their_quality():
    assert codecs(['front=jpeg:80', 'cameras/wrist/image_raw=png', '/x=jpeg', '/y=none', '']) == {
        'front': Codec(Compression.JPEG, 80), 'cameras/wrist/image_raw': Codec(Compression.PNG, 1),
        '/x': Codec(Compression.JPEG, 90), '/y': Codec(Compression.NONE, 0)}


@pytest.mark.parametrize(('text', 'says'), [
    ('front', 'expected TOPIC=CODEC'), ('front=gif', 'one of none, jpeg, png'),
    ('=jpeg', 'expected TOPIC'), ('front=jpeg:0', 'expected 1 to 100'),
    ('front=png:10', 'expected 0 to 9'), ('front=jpeg:-5', 'expected TOPIC'),
    ('front=none:1', 'expected 0 to 0')])
def test_a_codec_that_cannot_be_is_refused_with_what_was_expected(text, says):
    with pytest.raises(SelectionError, match=re.escape(says)) as refused:
        codecs([text])
    assert repr(text) in str(refused.value)


def test_a_broken_pattern_is_refused_with_the_parameters_name():
    with pytest.raises(SelectionError, match=r"parameter exclude: '\(' is no regular expression"):
        patterns(['('], 'exclude')


@given(st.text(max_size=30))
def test_whatever_is_written_as_a_choice_is_understood_or_refused(text):
    for read in (lambda: codecs([text]), lambda: patterns([text], 'patterns')):
        with suppress(SelectionError):
            read()
