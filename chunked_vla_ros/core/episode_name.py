"""
Names of episodes: what may be a folder's name, and the next free number.

A name comes over the network and becomes a path, so it is refused unless it is harmless. Opens no
file: what is taken is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
import re
import unicodedata

LONGEST_BYTES = 100
# What the bag writer adds to a name while an episode is being recorded.
UNFINISHED = '.partial'
NUMBERED = re.compile(r'episode_([0-9]+)')


class EpisodeNameError(ValueError):
    """A name cannot be an episode's; the message is one line with the remedy."""


def checked_name(name: str) -> str:
    """
    Return ``name`` in Unicode's composed form, in which equal names are equal.

    :raises EpisodeNameError: it could leave the folder, hide in it, or not be written at all.
    """
    name = unicodedata.normalize('NFC', name)
    fault = _fault(name)
    if fault:
        raise EpisodeNameError(
            f'episode name {_shown(name)} {fault}; choose letters, digits, - and _')
    return name


def _fault(name: str) -> str:
    """Return what is wrong with ``name``, empty if nothing is."""
    if not name:
        return 'is empty'
    if not name.isprintable():
        return 'has characters that cannot be printed'
    if '/' in name or '\\' in name:
        return 'is a path'
    if name.startswith('.'):
        return 'starts with a dot'
    if name.endswith(UNFINISHED):
        return f'ends with {UNFINISHED}, which marks an unfinished episode'
    if name != name.strip():
        return 'begins or ends with a space'
    size = len(name.encode())
    if size > LONGEST_BYTES:
        return f'is {size} bytes long, at most {LONGEST_BYTES} are allowed'
    return ''


def _shown(name: str) -> str:
    """Return ``name`` as an error shows it: on one line, not longer than a line."""
    text = ascii(name) if not name.isprintable() else repr(name)
    return text if len(text) <= 60 else text[:57] + '...'


def next_name(taken: Iterable[str]) -> str:
    """Return the first ``episode_000012`` after all of ``taken``, finished or not."""
    numbers = [int(match[1]) for name in taken
               if (match := NUMBERED.fullmatch(name.removesuffix(UNFINISHED)))]
    return f'episode_{max(numbers, default=-1) + 1:06d}'
