"""Look at the machine: Python, cores, shared memory, rendering without a screen."""

from __future__ import annotations

import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys

from chunked_vla_ros.doctor.finding import Finding, Level

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 12)
CORES_NEEDED = 2
# The POSIX shared memory that Fast DDS uses.
SHARED_MEMORY = Path('/dev/shm')
# Five participants of the demonstration with 8.8 MB each (config/fastdds_shm.xml).
SHARED_MEMORY_NEEDED = 48_000_000
RENDER_LIMIT_S = 60.0
# In a child process: a broken driver may hang or crash its caller.
RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 2"/><geom type="plane" size="1 1 1" rgba="1 0 0 1"/>'
    '<camera name="c" pos="0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data, 'c')
    red = int(renderer.render()[8, 8, 0])
raise SystemExit(0 if red > 20 else f'the rendered pixel is black ({red})')
"""


def check_python(version: tuple[int, int] | None = None) -> Finding:
    """Compare the interpreter with the versions that have ROS 2 and MuJoCo wheels."""
    version = version or sys.version_info[:2]
    found = f'{platform.python_version()} in {sys.prefix}'
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return Finding(Level.OK, 'Python', found)
    return Finding(
        Level.BROKEN, 'Python', found, 'use Python 3.10 to 3.12: make setup PYTHON=python3.12')


def check_cores(cores: int | None = None) -> Finding:
    """Compare the usable cores with what the control loop and the simulator need."""
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    if cores >= CORES_NEEDED:
        return Finding(Level.OK, 'cores', f'{cores} usable')
    return Finding(
        Level.WARN, 'cores', f'{cores} usable, {CORES_NEEDED} needed',
        'give the container or machine two cores; else the executor misses deadlines')


def check_shared_memory(free: int | None = None) -> Finding:
    """Compare free shared memory [byte] with what the participants of a graph reserve."""
    if free is None:
        if not SHARED_MEMORY.is_dir():
            return Finding(
                Level.WARN, 'shared memory', f'no {SHARED_MEMORY}',
                'images go by UDP and some are lost; mount a tmpfs there')
        free = shutil.disk_usage(SHARED_MEMORY).free
    found = f'{free / 1e6:.0f} MB free in {SHARED_MEMORY}'
    if free >= SHARED_MEMORY_NEEDED:
        return Finding(Level.OK, 'shared memory', found)
    return Finding(
        Level.WARN, 'shared memory', f'{found}, {SHARED_MEMORY_NEEDED / 1e6:.0f} MB needed',
        'images fall back to UDP and some are lost; start a container with --shm-size=256m, or '
        'remove stale segments: rm /dev/shm/fastrtps_*')


def check_rendering() -> Finding:
    """Render one pixel with EGL in a child process."""
    subject = 'rendering'
    environment = {**os.environ, 'MUJOCO_GL': 'egl'}
    try:
        result = subprocess.run(
            [sys.executable, '-c', RENDER], env=environment, capture_output=True, text=True,
            timeout=RENDER_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Finding(
            Level.BROKEN, subject, f'EGL did not answer within {RENDER_LIMIT_S:g} s',
            'install Mesa: apt-get install libegl1 libgl1-mesa-dri')
    if result.returncode == 0:
        return Finding(Level.OK, subject, 'EGL renders without a screen')
    reason = (result.stderr.strip().splitlines() or ['no message'])[-1]
    if "No module named 'mujoco'" in reason:
        return Finding(Level.INFO, subject, 'MuJoCo is not installed: no simulator here',
                       'pip install -r requirements/sim.txt')
    return Finding(
        Level.BROKEN, subject, f'EGL fails: {reason}',
        'install Mesa: apt-get install libegl1 libgl1-mesa-dri libgl1')
