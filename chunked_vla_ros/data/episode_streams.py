"""
The streams of an episode that is being written: announced to its bag, images packed on the way.

For one thread. Knows no queue and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chunked_vla_ros.core.recording import Compression, StreamSpec, WireMessage
from chunked_vla_ros.core.stream_health import StreamHealth
from chunked_vla_ros.core.stream_selection import Codec, compressed_topic, Selection
from chunked_vla_ros.data.episode_writer import EpisodeWriter
from chunked_vla_ros.data.image_compression import compress_image, ImageCdrError
from chunked_vla_ros.data.message_definition import definition_of

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'


class EpisodeStreams:
    """
    Hand messages to ``writer`` as ``selection`` wants them kept.

    :param health: By topic; notes of what could not be kept so are added to it.
    """

    def __init__(self, writer: EpisodeWriter, selection: Selection,
                 health: Mapping[str, StreamHealth]) -> None:
        self._writer, self._selection, self._health = writer, selection, health
        self._fallback: dict[str, StreamSpec] = {}

    def open(self, spec: StreamSpec) -> None:
        """
        Announce a topic, before its first message.

        :raises ValueError: it was announced with another type.
        """
        if spec.compression is Compression.NONE or spec.type_name != IMAGE:
            self._writer.add_stream(spec)
            return
        # Kept as it is where the codec cannot hold it; known with the first image.
        self._fallback[spec.topic] = replace(spec, compression=Compression.NONE)
        self._writer.add_stream(replace(
            spec, topic=compressed_topic(spec.topic), type_name=COMPRESSED_IMAGE, type_hash='',
            definition=definition_of(COMPRESSED_IMAGE)))

    def write(self, message: WireMessage) -> None:
        """
        Write a message of a topic that was opened.

        :raises OSError: it cannot be written.
        """
        raw = self._fallback.get(message.topic)
        if raw is None:
            self._writer.write(message)
            return
        codec: Codec = self._selection.codec(message.topic)
        try:
            data = compress_image(message.data, codec.compression, codec.value)
        except ImageCdrError as error:
            note = f'{error}: kept as it is'
            if note not in self._health[message.topic].notes:
                self._health[message.topic].notes.append(note)
            self._writer.add_stream(raw)
            self._writer.write(message)
            return
        self._writer.write(replace(message, topic=compressed_topic(message.topic), data=data))
