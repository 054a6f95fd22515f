"""
One training at a time in a folder: who holds it, holds it until its process ends, however it ends.

Knows nothing of what is in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import fcntl
import os
from pathlib import Path

LOCK = '.lock'
# So says a file system that has no locks: there, nobody is kept away.
UNABLE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


@contextmanager
def hold_folder(folder: Path) -> Iterator[bool]:
    """
    Hold ``folder``, which is made if need be; give whether it is free.

    :raises OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _taken(lock)
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in UNABLE:
            raise
    return True
