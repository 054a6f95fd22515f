"""
TFRecord files: records with their length before and a masked CRC-32C after length and content.

Knows frames, not what is in them. A file is walked once without reading the content; each record
is checked when it is read.
"""

from __future__ import annotations

from array import array
from pathlib import Path
import struct

from chunked_vla_ros.data.crc32c import masked_crc32c
from chunked_vla_ros.data.dataset import cause, DatasetError

HEAD = struct.Struct('<QI')
FOOT = struct.Struct('<I')
# What protobuf itself allows.
LARGEST_RECORD = (1 << 31) - 1


class TfRecordFile:
    """
    The records of one file.

    :raises DatasetError: the file is cut off, or a length's CRC is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places, self._lengths = array('Q'), array('Q')
        try:
            self._walk()
        except OSError as error:
            raise DatasetError(f'{path}: cannot be read ({cause(error)})') from error

    def __len__(self) -> int:
        return len(self._places)

    def record(self, number: int) -> bytes:
        """
        Return the content of record ``number``, from 0.

        :raises DatasetError: it cannot be read, or its CRC is wrong.
        """
        place, length = self._places[number], self._lengths[number]
        try:
            with self.path.open('rb') as file:
                file.seek(place)
                content, foot = file.read(length), file.read(FOOT.size)
        except OSError as error:
            raise DatasetError(f'{self.path}: cannot be read ({cause(error)})') from error
        if len(content) != length or len(foot) != FOOT.size:
            raise self._refuse(number, place, 'was cut off since it was opened')
        if FOOT.unpack(foot)[0] != masked_crc32c(content):
            raise self._refuse(number, place, 'has another content than its CRC says')
        return content

    def _walk(self) -> None:
        size, place = self.path.stat().st_size, 0
        with self.path.open('rb') as file:
            while place < size:
                file.seek(place)
                head = file.read(HEAD.size)
                if len(head) < HEAD.size:
                    raise self._refuse(len(self), place, 'is cut off in its head')
                length, crc = HEAD.unpack(head)
                if crc != masked_crc32c(head[:8]):
                    raise self._refuse(len(self), place, 'has another length than its CRC says')
                end = place + HEAD.size + length + FOOT.size
                if end > size or length > LARGEST_RECORD:
                    raise self._refuse(
                        len(self), place, f'claims {length} bytes, the file has {size - place}')
                self._places.append(place + HEAD.size)
                self._lengths.append(length)
                place = end

    def _refuse(self, number: int, place: int, why: str) -> DatasetError:
        return DatasetError(f'{self.path}: record {number} at byte {place} {why}, fetch it again')
