"""
Find a robot's streams among a bag's topics: by the contract's names, in a namespace.

Says which topic is missing and what else there is. Reads no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chunked_vla_ros.core.conversion_rules import ConversionRefused
from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.data.bag_messages import BagTopic
from chunked_vla_ros.data.wire_values import CompressedImageValue, ImageValue

IMAGE_TYPES = (ImageValue.TYPE, CompressedImageValue.TYPE)
MOST_NAMED = 8


class BagTopics:
    """A bag's topics by their relative names."""

    def __init__(self, topics: Mapping[str, BagTopic], namespace: str) -> None:
        self._topics, self._namespace = topics, namespace.strip('/')

    def absolute(self, name: str) -> str:
        """Return what ``name`` is called in the bag."""
        if name.startswith('/'):
            return name
        return '/' + '/'.join(filter(None, (self._namespace, name)))

    def find(self, name: str, types: Sequence[str] = ()) -> BagTopic | None:
        """Return a topic that has messages, and is of one of ``types`` if any are named."""
        topic = self._topics.get(self.absolute(name))
        if topic is None or not topic.count or (types and topic.type_name not in types):
            return None
        return topic

    def need(self, name: str, what: str, types: Sequence[str]) -> BagTopic:
        """
        Return a topic that has messages of one of ``types``.

        :param what: What it is for, in errors.
        :raises ConversionRefused: there is none; names those that might be meant.
        """
        topic = self._topics.get(self.absolute(name))
        if topic is None:
            raise ConversionRefused(
                f'has no topic {self.absolute(name)}, {what}; {self._others(name, types)}')
        if topic.type_name not in types:
            raise ConversionRefused(f'{topic.name}, {what}, is of type {topic.type_name[:64]}, '
                                    f'expected {" or ".join(types)}')
        if not topic.count:
            raise ConversionRefused(
                f'has no message on {topic.name}, {what}; {self._others(name, types)}')
        return topic

    def camera(self, camera: CameraSpec) -> BagTopic:
        """
        Return the topic of a camera's images, as they are published or as a recorder packed them.

        :raises ConversionRefused: there is none.
        """
        packed = self.find(f'{camera.stream.topic}/compressed', (CompressedImageValue.TYPE,))
        if packed is not None and self.find(camera.stream.topic) is None:
            return packed
        try:
            return self.need(camera.stream.topic, f'images of camera {camera.name}', IMAGE_TYPES)
        except ConversionRefused as error:
            raise ConversionRefused(
                f'{error}, or leave the camera out with --cameras') from error

    def _others(self, wanted: str, types: Sequence[str]) -> str:
        """Return which topics of ``types`` have messages, and what to do about it."""
        names = sorted(name for name, topic in self._topics.items()
                       if topic.type_name in types and topic.count)
        if not names:
            return f'there is nothing of type {" or ".join(types)} in it: name the robot\'s bag'
        spaces = [name.removesuffix(f'/{wanted}') for name in names if name.endswith(f'/{wanted}')]
        if spaces:
            found = spaces[0].lstrip('/')
            remedy = f'say --namespace {found}' if found else 'leave --namespace out'
            return f'there is {spaces[0]}/{wanted}: {remedy}'
        more = f' and {len(names) - MOST_NAMED} more' if len(names) > MOST_NAMED else ''
        return (f'of its type there is {", ".join(names[:MOST_NAMED])}{more}: name that topic in '
                'the robot contract')
