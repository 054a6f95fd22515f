"""
Put a finished folder in its place at one stroke: as a new name, or in exchange for a former one.

Whoever looks sees the former state or the new one, whatever is killed when. Linux only, by
renameat2. Knows nothing about what is in the folders.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from chunked_vla_ros.data.durable_file import sync_folder

AT_FDCWD = -100
NO_REPLACE, EXCHANGE = 1, 2
# A file system that cannot do it says one of these.
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)


def publish(folder: Path, target: Path) -> None:
    """
    Give ``folder`` the name ``target``, which nothing has.

    :raises FileExistsError: something has it; it is left as it is.
    :raises OSError: the folder cannot be renamed.
    """
    try:
        _rename(folder, target, NO_REPLACE)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        if target.exists() or target.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        folder.rename(target)
    sync_folder(target.parent)


def exchange(folder: Path, target: Path) -> None:
    """
    Exchange two folders of one file system: each has the other's name then.

    :raises OSError: they cannot be exchanged at one stroke here; both are as they were.
    """
    try:
        _rename(folder, target, EXCHANGE)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        raise OSError(error.errno, 'cannot be exchanged for another folder at one stroke on this '
                      'file system, write to a new folder', str(target)) from error
    sync_folder(target.parent)
    sync_folder(folder.parent)


def _rename(source: Path, target: Path, flags: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, 'renameat2'):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if library.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
