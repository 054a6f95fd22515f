"""Read from /proc how much processor time the threads of a process have used."""

from __future__ import annotations

from collections import Counter
import os
from pathlib import Path

TICKS_PER_S = os.sysconf('SC_CLK_TCK')


def thread_times(pid: int) -> Counter[str]:
    """Return processor time by thread name in 1 / `TICKS_PER_S`; DDS's threads are ``dds``."""
    ticks: Counter[str] = Counter()
    for task in Path(f'/proc/{pid}/task').iterdir():
        try:
            name = (task / 'comm').read_text().strip()
            values = (task / 'stat').read_text().rpartition(')')[2].split()
        except OSError:    # it has just ended
            continue
        group = 'dds' if name.startswith('dds.') else name
        ticks[group] += int(values[11]) + int(values[12])    # user, system
    return ticks


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is in RAM (VmRSS)."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) * 1024
    raise ValueError(f'/proc/{pid}/status: has no VmRSS, the process has ended')
