"""
One home per number: a dataclass field that carries its description and bounds.

ROS parameters are derived from such fields by ``nodes.parameters``. Knows nothing about ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def parameter(default: Any, doc: str, *, minimum: float | None = None,
              maximum: float | None = None, choices: Sequence[str] = ()) -> Any:
    """Return a dataclass field with a description and either bounds or choices."""
    metadata = {'doc': doc, 'min': minimum, 'max': maximum, 'choices': tuple(choices)}
    return field(default=default, metadata=metadata)
