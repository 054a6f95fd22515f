"""
A joint sample from what a JointState says: named joints in any order, checked before they count.

One rule for live messages and recorded ones. Knows no messages, clocks or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import FloatArray, JointSample


def joint_sample(names: Sequence[str], position: Sequence[float] | FloatArray,
                 velocity: Sequence[float] | FloatArray, wanted: Sequence[str],
                 stamp_ns: int) -> JointSample:
    """
    Return the sample of the joints ``wanted``, picked by name in any order.

    An absent velocity array means zeros, as many drivers leave it empty.

    :param names: As the message has them, and one position for each.
    :raises InputRejected: a joint is missing, sizes disagree, or a value is not finite.
    """
    pick = joint_places(tuple(names), tuple(wanted))
    if len(position) != len(names):
        raise InputRejected(
            f'joint_states has {len(names)} names but {len(position)} positions')
    if len(velocity) not in (0, len(names)):
        raise InputRejected(
            f'joint_states has {len(names)} names but {len(velocity)} velocities')
    picked = np.array(position)[pick]
    speeds = np.array(velocity)[pick] if len(velocity) else np.zeros(len(pick))
    if not (np.isfinite(picked).all() and np.isfinite(speeds).all()):
        raise InputRejected('joint_states has a value that is not finite')
    return JointSample(stamp_ns, picked, speeds)


@lru_cache(maxsize=16)    # a driver says the same names a hundred times a second
def joint_places(found: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.intp]:
    """
    Return where each of ``wanted`` stands in ``found``.

    :raises InputRejected: one is missing, or is there twice.
    """
    place = {name: index for index, name in enumerate(found)}
    missing = [name for name in wanted if name not in place]
    if missing:
        raise InputRejected(f'joint_states lacks {", ".join(missing)}; it has {list(found)}')
    twice = [name for name in wanted if found.count(name) > 1]
    if twice:
        raise InputRejected(f'joint_states names {", ".join(twice)} twice')
    return np.array([place[name] for name in wanted], dtype=np.intp)
