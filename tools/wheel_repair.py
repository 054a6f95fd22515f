"""
Repair the CMake files of the ROS 2 wheels.

They name two include folders of the machine that built the wheels; CMake refuses a folder that
does not exist. Both are replaced by those of this environment.
"""

from __future__ import annotations

from pathlib import Path
import re
import subprocess

PYTHON_INCLUDE = re.compile(r'/opt/python/cp\d+-cp\d+/include/python[\d.]+')
NUMPY_INCLUDE = re.compile(r'/[^;"\s]*site-packages/numpy/_core/include')
INCLUDES = (
    'import numpy, sysconfig; print(sysconfig.get_paths()["include"]); print(numpy.get_include())')


def repair_cmake_files(python: Path, prefix: Path) -> int:
    """Rewrite ``share/*/cmake/*.cmake`` under ``prefix``; return how many files changed."""
    python_include, numpy_include = subprocess.run(
        [python, '-c', INCLUDES], capture_output=True, text=True, check=True).stdout.splitlines()
    changed = 0
    for path in sorted(prefix.glob('share/*/cmake/*.cmake')):
        text = path.read_text()
        repaired = repair_text(text, python_include, numpy_include)
        if repaired != text:
            path.write_text(repaired)
            changed += 1
    return changed


def repair_text(text: str, python_include: str, numpy_include: str) -> str:
    """Return ``text`` with the two foreign include folders replaced."""
    text = PYTHON_INCLUDE.sub(lambda _: python_include, text)
    if numpy_include in text:    # repaired before; a second pass would split a path with spaces
        return text
    return NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
