"""
Where chance comes from: each step's own generator, a pure function of seed, step and purpose.

So a resumed training draws what the uninterrupted one would have drawn, and what two processes
draw together is what one draws alone. Always on the CPU: a GPU's numbers are others.
"""

from __future__ import annotations

import numpy as np
import torch

TRAINING, VALIDATION, NETWORK, FEATURES, SELECTION, TABLE = range(6)


def step_generator(seed: int, step: int, purpose: int = TRAINING) -> torch.Generator:
    """Return the generator of ``step``'s draws for ``purpose``, one of the constants above."""
    return torch.Generator().manual_seed(_number(seed, step, purpose))


def seed_network(seed: int, step: int) -> None:
    """Seed torch's own generators, which dropout inside the network draws from."""
    torch.manual_seed(_number(seed, step, NETWORK))


def _number(seed: int, step: int, purpose: int) -> int:
    # Hashed: neighbouring seeds of torch's generator begin alike.
    state = np.random.SeedSequence((seed, step, purpose)).generate_state(1, np.uint64)
    return int(state[0] >> 1)
