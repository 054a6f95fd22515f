"""
The second pass over a bag: the pixels of one camera, decoded in the order of the file.

Only the images that rows use are decoded, one at a time. Knows no rows' times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.conversion_rules import ConversionRefused
from chunked_vla_ros.core.dataset_episode import StampArray
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.bag_arrivals import FrameMessages
from chunked_vla_ros.data.bag_messages import BagError, BagReader


@dataclass(frozen=True)
class FramePass:
    """
    The frames of consecutive rows.

    :ivar seen: What the first pass found on the camera's topic.
    :ivar places: Which message of the topic each row shows, shape (N,), not decreasing.
    """

    reader: BagReader
    seen: FrameMessages
    places: StampArray

    def frames(self) -> Iterator[ImageArray]:
        """
        Yield N frames, (height, width, 3) RGB; rows that show one image get the same array.

        :raises ConversionRefused: an image is damaged, or the bag has changed.
        """
        logs_ns = self.seen.all_logs_ns
        first_ns, last_ns = int(logs_ns[self.places[0]]), int(logs_ns[self.places[-1]])
        place = int(np.searchsorted(logs_ns, first_ns, 'left')) - 1
        row = 0
        try:
            for message in self.reader.messages((self.seen.topic,), first_ns, last_ns):
                place += 1
                if row == len(self.places):
                    return
                if place != self.places[row]:
                    continue
                pixels = self._pixels(message.data, place)
                while row < len(self.places) and place == self.places[row]:
                    yield pixels
                    row += 1
        except BagError as error:
            raise ConversionRefused(str(error)) from error
        if row < len(self.places):
            raise ConversionRefused(
                f'{self.reader.path}: {self.seen.topic} has lost messages since it was opened: '
                'convert it again when its writer is done')

    def _pixels(self, data: bytes, place: int) -> ImageArray:
        try:
            return self.seen.frame(data).pixels
        except InputRejected as error:
            raise ConversionRefused(
                f'{self.reader.path}: {error} (message {place} of {self.seen.topic}): leave the '
                'camera out') from error
