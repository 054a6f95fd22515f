"""Where a benchmark's results go: JSON and a table into its folder, JSON where asked too."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

RESULTS, TABLE = 'results.json', 'table.md'


def write_results(out: Path, json_too: str, results: Mapping[str, Any], table: str) -> str:
    """
    Write both into ``out``, and the JSON to ``json_too`` unless that is ''; return where they are.

    :raises OSError: one of them cannot be written.
    """
    text = json.dumps(results, indent=2) + '\n'
    for path in [str(out / RESULTS), *([json_too] if json_too else [])]:
        Path(path).write_text(text, encoding='utf-8')
    (out / TABLE).write_text(table, encoding='utf-8')
    return f'results: {out / RESULTS}   table: {out / TABLE}'
