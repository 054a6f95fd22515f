"""
Look at what trains policies: torch, whether it can use a GPU, and accelerate.

torch is imported only here of all the doctor, and only if it is installed; nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chunked_vla_ros.doctor.finding import Finding, Level

INSTALL = 'pip install -r requirements/train.txt'
# PyPI's wheel for Linux has CUDA, and takes the place of a CPU build only by force.
WITH_CUDA = 'pip install --force-reinstall torch=={}, from PyPI itself'
# There where NVIDIA's kernel driver is loaded.
NVIDIA_DRIVER = Path('/dev/nvidiactl')


@dataclass(frozen=True)
class TorchBuild:
    """
    What an installed torch says of itself.

    :ivar version: For example ``2.13.0+cpu``.
    :ivar cuda: CUDA's version that it was built for; empty: none.
    :ivar gpu: Name of the GPU that it can use; empty: none.
    """

    version: str
    cuda: str = ''
    gpu: str = ''


def check_torch(build: TorchBuild | None = None, driver: bool | None = None) -> Finding:
    """
    Say which torch there is and whether it uses the GPU of this machine, if it has one.

    :param build: What torch says; ``None``: ask the one that is installed.
    :param driver: Whether NVIDIA's driver is loaded; ``None``: look.
    """
    if build is None:
        if not installed('torch'):
            return Finding(
                Level.INFO, 'torch', 'not installed: policies run here, but none is trained',
                INSTALL)
        try:
            build = ask_torch()
        except (ImportError, OSError, AttributeError) as error:
            # OSError: a shared library of torch is missing or was built for another processor.
            return Finding(
                Level.BROKEN, 'torch', f'cannot be imported: {" ".join(str(error).split())}',
                f'pip uninstall torch; then {INSTALL}')
    if driver is None:
        driver = NVIDIA_DRIVER.exists()
    if build.gpu:
        return Finding(Level.OK, 'torch', f'{build.version}, CUDA {build.cuda} on {build.gpu}')
    if driver and build.cuda:
        return Finding(
            Level.WARN, 'torch', f'{build.version} cannot use the GPU: CUDA {build.cuda} does not '
            'start', 'look at nvidia-smi: the driver may be too old for it, or the GPU hidden by '
            'CUDA_VISIBLE_DEVICES')
    if driver:
        return Finding(
            Level.WARN, 'torch', f'{build.version} was built without CUDA, though there is a GPU',
            WITH_CUDA.format(build.version.partition('+')[0]))
    return Finding(Level.OK, 'torch', f'{build.version}, trains on the CPU: no NVIDIA driver here')


def check_accelerate() -> Finding:
    """Say which accelerate there is; without it the trainer does not start."""
    found = installed('accelerate')
    if found:
        return Finding(Level.OK, 'accelerate', found)
    level = Level.WARN if installed('torch') else Level.INFO
    return Finding(level, 'accelerate', 'not installed: chunked-vla train does not start', INSTALL)


def installed(distribution: str) -> str:
    """Return the version of an installed ``distribution``; empty: it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ''


def ask_torch() -> TorchBuild:
    """
    Import torch and return what it says of itself.

    :raises ImportError, OSError, AttributeError: it is damaged.
    """
    torch = importlib.import_module('torch')
    usable = bool(torch.cuda.is_available())
    return TorchBuild(str(torch.__version__), str(torch.version.cuda or ''),
                      str(torch.cuda.get_device_name(0)) if usable else '')
