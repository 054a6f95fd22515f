"""Read from /proc what a whole process has used so far: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf('SC_CLK_TCK')


def processor_s(pid: int) -> float:
    """Return user and system time of a process in [s], threads that have ended included."""
    values = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(values[11]) + int(values[12])) / TICKS_PER_S


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had in RAM (VmHWM)."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) * 1024
    raise ValueError(f'/proc/{pid}/status: has no VmHWM, the process has ended')
