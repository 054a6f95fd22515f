"""
Which channel and schema a number stands for, also where the file's own word on it is damaged.

A summary with a CRC comes first, then the data section, then a summary without one, then a chunk
whose CRC is wrong: who has to believe that is remembered. Knows neither topics' meaning nor files.
"""

from __future__ import annotations

from chunked_vla_ros.data.mcap_records import Channel, Schema
from chunked_vla_ros.data.mcap_summary import Summary


class Definitions:
    """
    The channels and schemas of one file.

    :ivar contradictions: One line for each number that was given twice with another meaning.
    """

    def __init__(self, summary: Summary | None) -> None:
        sound = summary if summary is not None and not summary.flaw else None
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.contradictions: list[str] = []
        checked = sound is not None and bool(sound.stored_crc)
        self._sure_schemas = dict(sound.schemas) if sound is not None and checked else {}
        self._sure_channels = dict(sound.channels) if sound is not None and checked else {}
        self._spare_schemas = dict(sound.schemas) if sound is not None else {}
        self._spare_channels = dict(sound.channels) if sound is not None else {}
        self._doubtful: set[Channel | Schema] = set()
        self._fallbacks: set[str] = set()

    @property
    def fallbacks(self) -> list[str]:
        """Return the topics whose definition comes from a chunk with a wrong CRC."""
        return sorted(self._fallbacks)

    def add(self, record: Channel | Schema, trusted: bool = True) -> None:
        """Take a definition from the file's data section."""
        if isinstance(record, Schema):
            self._add(record, trusted, self.schemas, self._spare_schemas)
        else:
            self._add(record, trusted, self.channels, self._spare_channels)

    def channel(self, number: int) -> Channel | None:
        """Return the channel, ``None`` where nothing in the file says what it is."""
        found = self._sure_channels.get(number) or self.channels.get(number)
        if found is None:
            found = self._spare_channels.get(number)
            if found in self._doubtful and found is not None:
                self._fallbacks.add(found.topic)
        return found

    def schema(self, channel: Channel) -> Schema | None:
        """Return a channel's message type, ``None`` where the file does not say."""
        found = self._sure_schemas.get(channel.schema_id) or self.schemas.get(channel.schema_id)
        if found is None:
            found = self._spare_schemas.get(channel.schema_id)
            if found in self._doubtful:
                self._fallbacks.add(channel.topic)
        return found

    def _add(self, record: Channel | Schema, trusted: bool, sure: dict[int, Channel]
             | dict[int, Schema], spare: dict[int, Channel] | dict[int, Schema]) -> None:
        if not trusted:
            if record.id not in spare:
                self._doubtful.add(record)
            spare.setdefault(record.id, record)    # type: ignore[arg-type]
        elif sure.setdefault(record.id, record) != record:    # type: ignore[arg-type]
            kind = 'channel' if isinstance(record, Channel) else 'schema'
            if len(self.contradictions) < 10:
                self.contradictions.append(f'{kind} {record.id} is defined twice, differently')
