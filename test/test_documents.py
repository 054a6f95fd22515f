"""What the documentation repeats of the code is what the code says: `make docs` writes it anew."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from chunked_vla_ros.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location('write_docs', ROOT / 'tools/write_docs.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_module_is_told_of_by_its_first_sentence(writer) -> None:
    page = (ROOT / 'docs/modules.md').read_text(encoding='utf-8')
    assert writer.with_modules(page) == page, 'run `make docs`'


def test_every_key_of_a_training_is_told_with_its_default(writer) -> None:
    page = (ROOT / 'docs/training.md').read_text(encoding='utf-8')
    assert writer.with_keys(page, TrainConfig) == page, 'run `make docs`'
    assert '\n| `rl.discount` | `0.995` | of a reward one point later: ' in page


def test_a_sentence_ends_at_its_full_stop_and_not_at_that_of_an_abbreviation(
        writer, tmp_path) -> None:
    module = tmp_path / 'flow.py'
    module.write_text('"""\nFlows (Lipman et al. 2023),\nas in ``vla``. And more.\n"""\n')
    assert writer.module_lines(tmp_path) == (
        '- `flow.py`: Flows (Lipman et al. 2023), as in `vla`\n')
