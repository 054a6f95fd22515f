"""
Make the working environment: ``.venv`` with pinned packages, ROS 2, messages and this package.

Each stage leaves a mark of what it was made from and is skipped while that has not changed, so a
second call takes a moment and an interrupted one goes on where it stopped. A sourced ROS 2 Jazzy
is used where there is one; elsewhere ROS 2 comes from PyPI wheels. Never calls apt.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import time

from preflight import check_parts, check_python, installed_ros, SetUpError
from stage import Stage
from wheel_repair import repair_cmake_files

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
VENV_PYTHON = VENV / 'bin' / 'python'
PACKAGES_MARK = VENV / '.packages.json'
# Beside what it vouches for: the links in .venv point into build/.
BUILD_MARK = ROOT / 'build' / '.built_from'
PACKAGE = 'chunked_vla_ros'
# The wheels' start-up hook marks every child's environment; a new interpreter must not see it.
FOREIGN_VARIABLES = (
    'PYTHONPATH', 'PYTHONHOME', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH',
    'COLCON_PREFIX_PATH', 'ROS_DISTRO', '_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'VIRTUAL_ENV')
# Not the script: its first line does not work in a folder with spaces.
COLCON = 'from colcon_core.command import main; raise SystemExit(main())'
WHEELS_SETS = ('ros', 'system', 'core', 'cpu', 'data', 'sim', 'train', 'hf', 'dev')
ROS_SETS = ('core', 'cpu', 'data', 'sim', 'train', 'hf', 'dev')


def main() -> int:
    """Run the stages that are due; return 0, or 1 after one line of error."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        check_python()
        fcntl.flock(handle, fcntl.LOCK_EX)    # two makes at once take turns
        SetUp(installed_ros(dict(os.environ), VENV)).run()
    except SetUpError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; the next call goes on from here', file=sys.stderr)
        return 130
    return 0


class SetUp:
    """The stages, for ROS 2 from wheels or from an installed prefix."""

    def __init__(self, ros_prefix: Path | None) -> None:
        self._ros_prefix = ros_prefix
        self._environment = dict(os.environ)
        if ros_prefix is None:
            for name in FOREIGN_VARIABLES:
                self._environment.pop(name, None)
            self._environment['AMENT_PREFIX_PATH'] = str(VENV)
            self._environment['CMAKE_PREFIX_PATH'] = str(VENV)
            self._environment['PATH'] = f'{VENV / "bin"}{os.pathsep}{os.environ["PATH"]}'

    def run(self) -> None:
        """Create, install, repair and build, each only if it is due."""
        wanted = self._wanted_packages()
        if not self._packages_are(wanted):
            check_parts()
            self._announce_source()
            self._create_venv()
            PACKAGES_MARK.unlink(missing_ok=True)
            self._install_packages()
            if self._ros_prefix is None:
                repair_cmake_files(VENV_PYTHON, VENV)
            self._write_environment_file()
            PACKAGES_MARK.write_text(json.dumps(wanted, indent=1))
        inputs = self._build_inputs()
        if not BUILD_MARK.exists() or BUILD_MARK.read_text() != inputs:
            self._build()
            BUILD_MARK.write_text(inputs)

    def _announce_source(self) -> None:
        distribution = os.environ.get('ROS_DISTRO', '')
        if self._ros_prefix is not None:
            print(f'ROS 2 Jazzy found in {self._ros_prefix}')
            if importlib.util.find_spec('colcon_core') is None:
                raise SetUpError(
                    'missing: colcon; install: apt-get install python3-colcon-common-extensions')
        elif distribution not in ('', 'jazzy'):
            print(f'ROS 2 {distribution} is sourced, Jazzy is needed: taking it from wheels')

    def _requirement_files(self) -> list[Path]:
        names = WHEELS_SETS if self._ros_prefix is None else ROS_SETS
        return [ROOT / 'requirements' / f'{name}.txt' for name in names]

    def _constraints(self) -> Path:
        home = 'wheels' if self._ros_prefix is None else 'ros'
        return ROOT / 'requirements' / f'constraints_{home}.txt'

    def _wanted_packages(self) -> dict[str, str]:
        """Return what the installed packages depend on; a moved folder or new Python counts."""
        digest = hashlib.sha256()
        for path in [*self._requirement_files(), self._constraints(), Path(__file__)]:
            digest.update(path.read_bytes())
        return {
            'place': str(VENV), 'ros': str(self._ros_prefix or 'wheels'),
            'python': '.'.join(map(str, sys.version_info[:2])), 'requirements': digest.hexdigest()}

    def _packages_are(self, wanted: dict[str, str]) -> bool:
        if not VENV_PYTHON.exists() or not PACKAGES_MARK.exists():
            return False
        return bool(json.loads(PACKAGES_MARK.read_text()) == wanted)

    def _create_venv(self) -> None:
        if self._venv_is_usable():
            return
        if VENV.exists():
            print('the .venv here is incomplete or was made for another place: making it anew')
            shutil.rmtree(VENV)
            shutil.rmtree(ROOT / 'build', ignore_errors=True)
        # From inside a virtual environment the new one must not depend on it.
        command = [os.path.realpath(sys.executable), '-m', 'venv', str(VENV)]
        if self._ros_prefix is not None:
            command.append('--system-site-packages')
        Stage('virtual environment', ROOT).run(command, self._environment)

    def _venv_is_usable(self) -> bool:
        configuration = VENV / 'pyvenv.cfg'
        if not VENV_PYTHON.exists() or not configuration.exists():
            return False
        shared = 'include-system-site-packages = true' in configuration.read_text()
        probe = subprocess.run(
            [VENV_PYTHON, '-c', 'import pip, sys; print(*sys.version_info[:2], sys.prefix)'],
            env=self._environment, capture_output=True, text=True, check=False)
        expected = '{} {} {}'.format(*sys.version_info[:2], VENV)
        # pip's own script names the place the environment was made for.
        script = VENV / 'bin' / 'pip'
        made_here = script.exists() and str(VENV).encode() in script.read_bytes()
        return (probe.stdout.strip() == expected and made_here
                and shared == (self._ros_prefix is not None))

    def _install_packages(self) -> None:
        install = [str(VENV_PYTHON), '-m', 'pip', 'install', '--disable-pip-version-check',
                   '--no-input', '-c', str(self._constraints())]
        # The pip that comes with an older Python searches for hours where a newer one does not.
        Stage('pip', ROOT).run([*install, '--upgrade', 'pip'], self._environment)
        files = [argument for path in self._requirement_files() for argument in ('-r', str(path))]
        Stage('Python packages', ROOT).run([*install, *files], self._environment)

    def _write_environment_file(self) -> None:
        """Write what a shell sources before it runs anything of this package."""
        if self._ros_prefix is None:
            lines = [f'unset {" ".join(FOREIGN_VARIABLES)}', f'export AMENT_PREFIX_PATH="{VENV}"']
        else:
            lines = [f'. "{VENV}/local_setup.sh"']
        lines.append(f'export PATH="{VENV}/bin:$PATH"')
        (VENV / 'environment.sh').write_text('\n'.join(lines) + '\n')

    def _build_inputs(self) -> str:
        """Return contents of what is compiled and names of what is linked, as one digest."""
        digest = hashlib.sha256()
        compiled = [ROOT / 'CMakeLists.txt', ROOT / 'package.xml', *_files('cmake'),
                    *_files('msg'), *_files('srv'), *_files('action')]
        for path in compiled:
            digest.update(str(path).encode() + path.read_bytes())
        for path in [*_files(PACKAGE), *_files('launch'), *_files('config')]:
            digest.update(str(path).encode())
        return digest.hexdigest()

    def _build(self) -> None:
        self._remove_stale_links()
        command = [
            str(VENV_PYTHON), '-c', COLCON,
            'build', '--merge-install', '--install-base', str(VENV), '--symlink-install',
            '--paths', str(ROOT), '--packages-select', PACKAGE,
            '--event-handlers', 'console_direct+', 'console_cohesion-',
            '--cmake-args', f'-DPython3_EXECUTABLE={VENV_PYTHON}', '-DBUILD_TESTING=OFF']
        Stage('messages and package', ROOT).run(command, self._environment)

    def _remove_stale_links(self) -> None:
        """Remove links to files that are gone; colcon only adds."""
        for folder in [*VENV.glob(f'lib/python3*/site-packages/{PACKAGE}'),
                       VENV / 'share' / PACKAGE, VENV / 'lib' / PACKAGE]:
            for link in folder.rglob('*'):
                if link.is_symlink() and not link.exists():
                    link.unlink()


def _files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob('*')
                  if path.is_file() and '__pycache__' not in path.parts)


if __name__ == '__main__':
    started = time.monotonic()
    code = main()
    elapsed_s = time.monotonic() - started
    if code == 0 and elapsed_s > 5.0:
        print(f'set-up done in {elapsed_s:.0f} s')
    raise SystemExit(code)
