"""Write what the documentation repeats of the code: docs/modules.md, the keys of training.md."""

from __future__ import annotations

import ast
from dataclasses import fields, is_dataclass
from pathlib import Path
import re
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'chunked_vla_ros'
KEYS_HEAD = '| key | default | meaning |\n|---|---|---|\n'


def first_sentence(path: Path) -> str:
    """Return the first sentence of the module's docstring, without its full stop."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    paragraph = ' '.join(doc.partition('\n\n')[0].split()).replace('``', '`')
    return re.split(r'\.(?: (?=[A-Z])|$)', paragraph)[0]


def module_lines(folder: Path) -> str:
    """Return a line for each module of ``folder``."""
    return ''.join(f'- `{path.relative_to(folder)}`: {first_sentence(path)}\n'
                   for path in _modules(folder) if path.name != '__init__.py')


def _modules(folder: Path) -> list[Path]:
    found = folder.glob('*.py') if folder == PACKAGE else folder.rglob('*.py')
    return sorted(found, key=lambda path: str(path.relative_to(folder)))


def with_modules(page: str) -> str:
    """Return docs/modules.md with its lists made anew; what is said above a list stays."""
    head, *sections = re.split(r'(?m)^(?=## )', page)
    made = [_without_list(head) + module_lines(PACKAGE)]
    for section in sections:
        name = section.partition('\n')[0].removeprefix('## ')
        made.append(_without_list(section) + module_lines(PACKAGE / name))
    return '\n'.join(made)


def _without_list(section: str) -> str:
    return re.sub(r'(?m)^- `.*\n', '', section).rstrip() + '\n\n'


def key_lines(kind: type, prefix: str = '') -> str:
    """Return a row of the table for each key of the configuration ``kind``."""
    rows = ''
    for spec in fields(kind):
        inner: Any = spec.default_factory
        if is_dataclass(inner):
            rows += key_lines(inner, f'{prefix}{spec.name}.')    # type: ignore[arg-type]
            continue
        doc, choices = spec.metadata['doc'], ', '.join(spec.metadata['choices'])
        meaning = f'{doc}: {choices}' if choices else doc
        rows += f'| `{prefix}{spec.name}` | `{_written(spec.default)}` | {meaning} |\n'
    return rows


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f'{value:g}'
    return {(): '[]', '': "''"}.get(value, str(value))


def with_keys(page: str, kind: type) -> str:
    """Return docs/training.md with its table of keys made anew."""
    head, _, rest = page.partition(KEYS_HEAD)
    return head + KEYS_HEAD + key_lines(kind) + re.sub(r'\A(\|.*\n)*', '', rest)


def main() -> None:
    """Write both."""
    from chunked_vla_ros.training.config import TrainConfig

    for path, made in ((ROOT / 'docs/modules.md', with_modules),
                       (ROOT / 'docs/training.md', lambda page: with_keys(page, TrainConfig))):
        path.write_text(made(path.read_text(encoding='utf-8')), encoding='utf-8')


if __name__ == '__main__':
    main()
