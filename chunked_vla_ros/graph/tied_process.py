"""
Become another program that ends when its parent does: ``tied_process.py PARENT PROGRAM ARG...``.

The kernel sends SIGTERM when the parent dies, even by SIGKILL, so that nodes bring the arm to rest
and no orphan keeps commanding it. Run as a script of its own, because a fork with Python code in
it is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then execute the program in its place."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:    # it died before the line above
        raise SystemExit(1)
    os.execv(command[0], command)


if __name__ == '__main__':
    main()
