"""
The learning rate at a step: it rises in a straight line, then falls along half a cosine.

Pure arithmetic; knows no optimizer.
"""

from __future__ import annotations

import math

# What is left at the end: the last steps still learn, and a training may be gone on from.
FLOOR = 0.02
# Of the steps: as long rises the rate where it would still rise at the last one.
SHORT_WARM_UP = 0.1


def learning_rate_share(step: int, steps: int, warm_up_steps: int) -> float:
    """
    Return which share of the highest learning rate step ``step``, 0 to ``steps`` - 1, takes.

    The first step already learns, step ``warm_up_steps`` takes all of it, the last one `FLOOR`.
    As many steps as there are, or more, are shortened to a tenth of them.
    """
    if warm_up_steps >= steps:
        warm_up_steps = int(SHORT_WARM_UP * steps)
    if step < warm_up_steps:
        return (step + 1) / (warm_up_steps + 1)
    done = (step - warm_up_steps) / max(1, steps - 1 - warm_up_steps)
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
