"""
Find out what this machine lacks before anything is installed, and name the one apt line.

Run as a program it prints one line and exits 1 when something is missing. Standard library only:
it runs under whatever ``python3`` the machine has. Knows nothing about what is installed later.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
import shutil
import sys
import sysconfig

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 12)
APT_PACKAGES = (
    'python3-venv', 'python3-dev', 'git', 'make', 'cmake', 'g++', 'libegl1', 'libgl1-mesa-dri',
    'libgl1')
PROGRAMS = ('make', 'cmake', 'g++')
# MuJoCo renders without a screen through these.
LIBRARIES = ('libEGL.so.1', 'libGL.so.1')


class SetUpError(RuntimeError):
    """The set-up cannot go on; the message is one line with the remedy."""


def check_python() -> None:
    """
    Check the running interpreter's version.

    :raises SetUpError: naming the versions that have wheels.
    """
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        raise SetUpError(
            'Python {}.{} found, 3.10 to 3.12 needed; name one: make PYTHON=python3.12'.format(
                *sys.version_info[:2]))


def missing_parts() -> list[str]:
    """Return what this machine lacks, in words."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    missing += [f'Python module {name}' for name in ('venv', 'ensurepip')
                if importlib.util.find_spec(name) is None]
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').exists():
        missing.append('Python.h')
    return missing + [library for library in LIBRARIES if not _loads(library)]


def check_parts() -> None:
    """
    Check programs, headers and libraries.

    :raises SetUpError: naming everything that is missing and the apt line that brings it.
    """
    missing = missing_parts()
    if missing:
        raise SetUpError(
            f'missing: {", ".join(missing)}; install: {apt_line()}')


def apt_line() -> str:
    """Return the command that installs every system package."""
    return ('' if os.geteuid() == 0 else 'sudo ') + 'apt-get install -y ' + ' '.join(APT_PACKAGES)


def installed_ros(environment: dict[str, str], own_prefix: Path) -> Path | None:
    """Return the prefix of a sourced ROS 2 Jazzy, or None; our own wheels do not count."""
    if environment.get('ROS_DISTRO') != 'jazzy':
        return None
    for entry in environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        marker = Path(entry) / 'share/ament_index/resource_index/packages/rclpy'
        if entry and Path(entry).resolve() != own_prefix.resolve() and marker.exists():
            return Path(entry)
    return None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == '__main__':
    try:
        check_python()
        check_parts()
    except SetUpError as error:
        raise SystemExit(f'error: {error}') from None
