"""
What people say of an episode after the fact: ``labels.json`` beside the bag, which stays as it is.

Every label is kept, the last one counts. The file is replaced as a whole, so a kill leaves either
the former labels or the new ones. Knows no clock and no MCAP.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.bag_metadata import writable
from chunked_vla_ros.data.durable_file import replace_file

LABELS_FILE = 'labels.json'
LARGEST_FILE = 16 * 1024 * 1024
# No set: what is looked up in it may be of any type.
OUTCOMES = tuple(outcome.value for outcome in Outcome)


class EpisodeLabelError(ValueError):
    """A labels.json cannot be understood; the message is one line with the remedy."""


@dataclass(frozen=True)
class Label:
    """A judgement: ``time_ns`` in [ns] since 1970."""

    outcome: Outcome
    note: str
    time_ns: int


def read_labels(folder: Path) -> tuple[Label, ...]:
    """
    Return the labels in ``folder``, oldest first.

    :raises EpisodeLabelError: there is a file, and it is not one of ours.
    :raises OSError: it cannot be read.
    """
    path = folder / LABELS_FILE
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _refused(path, f'is larger than {LARGEST_FILE} bytes')
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError:
        raise _refused(path, 'is not UTF-8') from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused(path, 'is no JSON') from None
    entries = content.get('labels') if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise _refused(path, 'has no list of labels')
    return tuple(_label(path, entry) for entry in entries)


def add_label(folder: Path, label: Label) -> None:
    """
    Add ``label`` to those in ``folder``.

    :raises EpisodeLabelError: there are labels, and they cannot be read.
    :raises OSError: they cannot be written; the former ones stay.
    """
    entries = [{'outcome': each.outcome.value, 'note': writable(each.note),
                'time_ns': each.time_ns} for each in (*read_labels(folder), label)]
    text = json.dumps({'labels': entries}, ensure_ascii=False, indent=1) + '\n'
    replace_file(folder / LABELS_FILE, text)


def _label(path: Path, entry: Any) -> Label:
    if not isinstance(entry, dict) or entry.get('outcome') not in OUTCOMES:
        raise _refused(path, f'has a label without one of the outcomes {OUTCOMES}')
    note, time_ns = entry.get('note', ''), entry.get('time_ns', 0)
    if not isinstance(note, str) or not isinstance(time_ns, int):
        raise _refused(path, 'has a label whose note is no text or whose time is no number')
    return Label(Outcome(entry['outcome']), note, time_ns)


def _refused(path: Path, fault: str) -> EpisodeLabelError:
    return EpisodeLabelError(f'{path} {fault}; move it away and label the episode again')
