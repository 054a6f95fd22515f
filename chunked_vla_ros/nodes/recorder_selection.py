"""
Turn the recorder's parameters into the choice of topics, with the names of the running graph.

Knows parameters and remappings; the rules are those of `core.stream_selection`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chunked_vla_ros.core.recording import Compression
from chunked_vla_ros.core.stream_selection import (
    codecs,
    compressed_topic,
    contract_wishes,
    graph_wishes,
    patterns,
    Selection,
    SelectionError,
    Wish,
)
from chunked_vla_ros.data.robot_contract import load_robot


def make_selection(robot: str, topics: Sequence[str], include: Sequence[str],
                   exclude: Sequence[str], compression: Sequence[str],
                   resolve: Callable[[str], str]) -> Selection:
    """
    Return what is to be recorded.

    :param robot: Contract, '' for none.
    :param resolve: Turns a name into an absolute one, remapped as a subscription's would be.
    :raises ContractError: the contract cannot be read.
    :raises SelectionError: a parameter cannot be understood, or asks for what is not recorded.
    """
    contract = load_robot(robot) if robot else None
    named = contract_wishes(contract) if contract is not None else {}
    named.update((topic, Wish()) for topic in topics if topic and topic not in named)
    if not named and not any(include):
        raise SelectionError('nothing is to be recorded: name a robot, topics or patterns')
    wishes = {resolve(topic): wish for topic, wish in (graph_wishes() | named).items()}
    excluded = patterns(exclude, 'exclude')
    asked = (resolve(topic) for topic in topics if topic)
    cameras = {} if contract is None else {
        camera.name: camera.stream.topic for camera in contract.cameras}
    selection = Selection(
        wishes, patterns(include, 'patterns'), excluded,
        {resolve(cameras.get(topic, topic)): codec
         for topic, codec in codecs(compression).items()},
        tuple(topic for topic in asked
              if not any(pattern.fullmatch(topic) for pattern in excluded)))
    for topic, codec in selection.codecs.items():
        if selection.wish(topic) is None:
            raise SelectionError(
                f'parameter compression: {topic} is not recorded: add it to topics')
        target = compressed_topic(topic)
        if codec.compression is not Compression.NONE and selection.wish(target) is not None:
            raise SelectionError(
                f'parameter compression: the images of {topic} would be mixed with those of '
                f'{target}, which is recorded too: add one of them to exclude')
    return selection
