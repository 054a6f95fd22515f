"""
Keep a library from raising this process above everything else that runs on the machine.

SVT-AV1 in a process of root puts the calling thread and its own under SCHED_FIFO 99, above any
control loop; every process that is started from there inherits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path

TASKS = Path('/proc/self/task')


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give every thread the scheduling back that it, or the calling one, had before the block."""
    before = _scheduling()
    own = before.get(os.getpid(), (os.SCHED_OTHER, 0))
    try:
        yield
    finally:
        for task, found in _scheduling().items():
            policy, priority = wanted = before.get(task, own)
            if found != wanted:
                os.sched_setscheduler(task, policy, os.sched_param(priority))


def _scheduling() -> dict[int, tuple[int, int]]:
    """Return policy and priority of each thread; none where the system does not tell."""
    if not TASKS.is_dir():
        return {}
    found = {}
    for task in TASKS.iterdir():
        try:
            found[int(task.name)] = (os.sched_getscheduler(int(task.name)),
                                     os.sched_getparam(int(task.name)).sched_priority)
        except ProcessLookupError:
            continue    # it has ended meanwhile
    return found
