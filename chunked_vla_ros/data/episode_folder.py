"""
A folder of recorded episodes: what is in it, labels after the fact, and the trash.

``<root>/<id>`` is a finished bag, ``<root>/<id>.partial`` one that is being recorded or was cut
off. Nothing is ever deleted or overwritten. Knows neither ROS nor a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import itertools
import json
import os
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.episode_name import checked_name, UNFINISHED
from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_metadata import (
    BagMetadata,
    BagMetadataError,
    LARGEST_TEXT,
    METADATA_FILE,
    parse_metadata,
)
from chunked_vla_ros.data.durable_file import sync_folder
from chunked_vla_ros.data.episode_labels import (
    add_label,
    EpisodeLabelError,
    Label,
    read_labels,
)

TRASH = '.trash'


class UnknownEpisodeError(LookupError):
    """No episode has the name; the message is one line that says where was looked."""


@dataclass(frozen=True)
class EpisodeRecord:
    """
    One directory in the folder.

    :ivar complete: Finished; else being recorded or cut off, and little is known of it.
    :ivar start_ns: Log stamp of its first message in [ns]; 0 where it is unknown.
    :ivar outcome: As labelled last.
    :ivar verdict: The recorder's; BROKEN where it gave none.
    :ivar lost: Sent by a publisher, never received; ``dropped``: received, but the queue was full.
    :ivar bytes: Size of the bag's file.
    :ivar facts: All that its writer said of it.
    """

    episode_id: str
    path: Path
    complete: bool
    start_ns: int = 0
    duration_s: float = 0.0
    task: str = ''
    outcome: Outcome = Outcome.UNLABELED
    verdict: Verdict = Verdict.BROKEN
    reasons: tuple[str, ...] = ()
    messages: int = 0
    lost: int = 0
    dropped: int = 0
    bytes: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EpisodeListing:
    """
    The episodes, oldest first, the unfinished last.

    :ivar problems: One line for each directory that is no whole episode, with the remedy.
    """

    episodes: tuple[EpisodeRecord, ...]
    problems: tuple[str, ...]


def list_episodes(root: Path, recording: str = '') -> EpisodeListing:
    """
    Return what is in ``root``; a folder that does not exist yet has no episodes.

    :param recording: The episode that is being recorded, '' for none: it is no problem.
    :raises OSError: ``root`` cannot be read.
    """
    episodes, problems = [], []
    for path in _folders(root):
        if path.name.endswith(UNFINISHED):
            name = path.name.removesuffix(UNFINISHED)
            reason = f'is unfinished: rescue it with `chunked-vla bag recover {path}`'
            episodes.append(EpisodeRecord(
                name, path, complete=False, reasons=(reason,), bytes=_bag_size(path)))
            if name != recording:
                problems.append(f'{path} {reason}')
            continue
        try:
            record, faults = _read(path)
        except (BagMetadataError, OSError) as error:
            fault = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(f'{path / METADATA_FILE} {fault}: try '
                            f'`chunked-vla bag recover {path}`')
            continue
        episodes.append(record)
        problems += faults
    episodes.sort(key=lambda record: (not record.complete, record.start_ns, record.episode_id))
    return EpisodeListing(tuple(episodes), tuple(problems))


def label(root: Path, episode_id: str, outcome: Outcome, note: str = '', *, now_ns: int) -> Label:
    """
    Say how a finished episode went; what was said before is kept.

    :param now_ns: In [ns] since 1970.
    :raises ValueError: the name is none, or the former labels cannot be read.
    :raises UnknownEpisodeError: there is no such finished episode.
    :raises OSError: the label cannot be written; the former ones stay.
    """
    new = Label(outcome, note, now_ns)
    add_label(_finished(root, episode_id), new)
    return new


def labels_of(root: Path, episode_id: str) -> tuple[Label, ...]:
    """
    Return what was said of an episode after the fact, oldest first.

    :raises ValueError: the name is none, or the labels cannot be read.
    :raises UnknownEpisodeError: there is no such finished episode.
    """
    return read_labels(_finished(root, episode_id))


def discard(root: Path, episode_id: str) -> Path:
    """
    Move an episode, finished or not, to ``<root>/.trash/<id>.<n>``; return where it lies now.

    :raises ValueError: the name is none.
    :raises UnknownEpisodeError: there is no such episode.
    :raises OSError: it cannot be moved, and stays.
    """
    name = checked_name(episode_id)
    source = next((path for path in (root / name, root / (name + UNFINISHED)) if path.is_dir()),
                  None)
    if source is None:
        raise UnknownEpisodeError(_unknown(root, name))
    trash = root / TRASH
    trash.mkdir(exist_ok=True)
    for number in itertools.count(1):
        target = trash / f'{name}.{number}'
        try:
            # Taking the name first: a rename replaces an empty directory and nothing else.
            target.mkdir()
        except FileExistsError:
            continue
        break
    try:
        source.rename(target)
    except OSError:
        target.rmdir()
        raise
    sync_folder(trash)
    sync_folder(root)
    return target


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return sorted(Path(entry.path) for entry in entries
                          if entry.is_dir() and not entry.name.startswith('.'))
    except FileNotFoundError:
        return []


def _finished(root: Path, episode_id: str) -> Path:
    name = checked_name(episode_id)
    path = root / name
    if not (path / METADATA_FILE).is_file():
        raise UnknownEpisodeError(_unknown(root, name))
    return path


def _unknown(root: Path, name: str) -> str:
    unfinished = root / (name + UNFINISHED)
    if unfinished.is_dir():
        return (f'{unfinished} is unfinished: stop its recording, or rescue it with '
                f'`chunked-vla bag recover {unfinished}`')
    return f'{root} has no episode {name!r}; list the episodes to see which there are'


def _read(path: Path) -> tuple[EpisodeRecord, list[str]]:
    """Return the finished episode at ``path`` and what is wrong with it."""
    file = path / METADATA_FILE
    size = file.stat().st_size
    if size > LARGEST_TEXT:
        raise BagMetadataError(f'has {size} bytes, at most {LARGEST_TEXT} are allowed')
    try:
        metadata = parse_metadata(file.read_text(encoding='utf-8'))
    except UnicodeDecodeError:
        raise BagMetadataError('is not UTF-8') from None
    faults = []
    if not (path / Path(metadata.file_name).name).is_file():
        faults.append(f'{path} lacks its file {metadata.file_name}: copy it again')
    facts = metadata.custom_data
    outcome = _outcome(facts.get('outcome'))
    try:
        outcome = next((given.outcome for given in reversed(read_labels(path))), outcome)
    except EpisodeLabelError as error:
        faults.append(str(error))
    except OSError as error:
        faults.append(f'{error.filename}: {error.strerror}')
    return _record(path, metadata, outcome), faults


def _record(path: Path, metadata: BagMetadata, outcome: Outcome) -> EpisodeRecord:
    facts = metadata.custom_data
    reasons = _json_list(facts.get('reasons'))
    streams = [entry for entry in _json_list(facts.get('streams')) if isinstance(entry, dict)]
    try:
        verdict = Verdict(facts.get('verdict'))
    except ValueError:
        verdict = Verdict.BROKEN
        reasons = ['has no verdict of our recorder: check it with `chunked-vla bag verify`']
    return EpisodeRecord(
        episode_id=path.name, path=path, complete=True, start_ns=metadata.start_ns,
        duration_s=metadata.duration_ns / NS_PER_S, task=facts.get('task', ''), outcome=outcome,
        verdict=verdict, reasons=tuple(str(reason) for reason in reasons),
        messages=metadata.messages, lost=_sum(streams, 'lost'), dropped=_sum(streams, 'dropped'),
        bytes=_bag_size(path), facts=facts)


def _outcome(text: str | None) -> Outcome:
    try:
        return Outcome(text)
    except ValueError:
        return Outcome.UNLABELED


def _json_list(text: str | None) -> list[Any]:
    """Return the list that ``text`` is, empty if it is none."""
    try:
        content = json.loads(text or '[]')
    except (ValueError, RecursionError):
        return []
    return content if isinstance(content, list) else []


def _sum(streams: list[dict[str, Any]], key: str) -> int:
    return sum(number for stream in streams if isinstance(number := stream.get(key), int))


def _bag_size(path: Path) -> int:
    """Return the bytes of the MCAP files in ``path``, as far as they can be seen."""
    size = 0
    for file in path.glob('*.mcap'):
        try:
            size += file.stat().st_size
        except OSError:
            continue
    return size
