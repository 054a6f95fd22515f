"""
Small files that are either as they were or as they shall be, also after a kill or a power cut.

Knows nothing about what is in them.
"""

from __future__ import annotations

from contextlib import suppress
import errno
import os
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """
    Make ``text`` the content of ``path``; until it is on the disk the former content stays.

    :raises OSError: it names ``path``, which is as it was.
    """
    # Always the same name: what a kill leaves behind is overwritten by the next call.
    fresh = path.with_name(f'.{path.name}.new')
    try:
        with fresh.open('w', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """
    Wait until what was written to the file is on the disk.

    :raises OSError: it is not, and never will be.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder are on the disk, where its file system can say so."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(folder)
