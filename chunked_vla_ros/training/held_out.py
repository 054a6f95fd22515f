"""
Which episodes are learnt from and which are held out: whole ones, by the seed or by name.

Pure arithmetic over names; knows no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """
    Numbers of the episodes, in rising order each.

    :ivar note: What a person should know of it, '' if all is as asked.
    """

    training: tuple[int, ...]
    validation: tuple[int, ...]
    note: str = ''


def split_episodes(ids: Sequence[str], count: int, named: Sequence[int | str],
                   seed: int) -> Split:
    """
    Return which of the episodes ``ids``, DATASET#NUMBER each, are held out.

    :param count: How many the seed draws, never more than half of them.
    :param named: If any: these and no others, DATASET#NUMBER or NUMBER each.
    :raises ValueError: one line: there is no such episode, or none is left to learn from.
    """
    note = ''
    if named:
        held = {index for name in named for index in _places(name, ids)}
        if len(held) == len(ids):
            raise ValueError(
                f'held_out names all of {len(ids)} episodes: leave some to learn from')
    else:
        most = min(count, len(ids) // 2)
        held = set(np.random.default_rng(seed).permutation(len(ids))[:most].tolist())
        if most < count:
            note = ('one episode only: no validation' if not most else
                    f'{most} of {len(ids)} episodes held out, not {count}: never more than half')
    return Split(tuple(index for index in range(len(ids)) if index not in held),
                 tuple(sorted(held)), note)


def _places(name: int | str, ids: Sequence[str]) -> list[int]:
    """Return where the episode ``name`` stands; in several datasets, where a number is enough."""
    wanted = str(name)
    found = [index for index, one in enumerate(ids)
             if one == wanted or one.rpartition('#')[2] == wanted]
    if not found:
        shown = ', '.join(ids[:3]) + (', ...' if len(ids) > 3 else '')
        raise ValueError(f'held_out: no episode {wanted!r}, expected some of {shown}')
    return found
