"""
Which targets of a new plan are decided already, as the arm moves on while the plan is made.

Real-time chunking (Black et al. 2025, https://arxiv.org/abs/2506.07339): a policy that is told
what will be executed before its answer comes continues it, in place of planning another way that
begins in the past. Knows no clock and no policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chunked_vla_ros.core.types import ActionChunk, DimKind, FloatArray

# Of so many latencies the median is what the next one is expected to be.
LATENCIES_LOOKED_AT = 9


def expected_latency_ns(latencies_ns: Sequence[int]) -> int:
    """Return the median of the newest of ``latencies_ns`` [ns]; 0 where there are none."""
    newest = latencies_ns[-LATENCIES_LOOKED_AT:]
    return round(float(np.median(newest))) if newest else 0


def committed_rows(chunk: ActionChunk, observation_ns: int, latency_ns: int,
                   step_ns: int) -> FloatArray | None:
    """
    Return the targets that come from ``chunk`` until a plan of ``observation_ns`` is there.

    Row k is due ``k * step_ns`` after the observation, as in the plan. There are as many as are
    due within ``latency_ns``, fewer where the chunk ends or is stale before. Between two points
    of the chunk a target lies on the line through both; that of a binary joint is the former.

    :return: Shape (D, J) in the chunk's order of joints, or ``None`` if there is no row.
    """
    rows = -(-latency_ns // step_ns)
    due_ns = observation_ns - chunk.start_ns + step_ns * np.arange(rows, dtype=np.int64)
    last_ns = min(int(chunk.offsets_ns[-1]), chunk.valid_for_ns)
    due_ns = due_ns[due_ns <= last_ns]
    if not len(due_ns) or due_ns[0] < chunk.offsets_ns[0]:
        return None
    kinds = chunk.dim_kinds or (DimKind.CONTINUOUS,) * len(chunk.joint_names)
    before = np.searchsorted(chunk.offsets_ns, due_ns, side='right') - 1
    columns = []
    for kind, targets in zip(kinds, chunk.positions.T, strict=True):
        if kind is DimKind.BINARY:
            columns.append(targets[before])
        else:
            way = np.unwrap(targets) if kind is DimKind.WRAPPED else targets
            columns.append(np.interp(due_ns, chunk.offsets_ns, way))
    return np.stack(columns, axis=1)
