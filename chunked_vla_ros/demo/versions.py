"""The versions that measured numbers depend on."""

from __future__ import annotations

import importlib.metadata
import os
import platform

PACKAGES = ('ros-jazzy-rclpy', 'mujoco', 'ogbench', 'numpy', 'opencv-python-headless',
            'onnxruntime', 'ruckig')


def versions() -> dict[str, str]:
    """Return Python, machine and packages; a package that pip does not know says so."""
    found = {
        'python': platform.python_version(), 'machine': platform.platform(),
        'processor cores': str(os.cpu_count())}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = 'not from a wheel'
    return found
