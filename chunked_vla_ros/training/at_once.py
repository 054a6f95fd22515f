"""
Parts of an update at once on a processor, each on its share of torch's threads.

Torch's own threads divide every single operation and wait for each other after it, which leaves
a quarter of two cores idle where an operation takes a millisecond. Parts that need nothing of
each other keep both busy. Knows no network and no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
import copy
from dataclasses import fields, replace
import functools
import itertools
import os
import threading
from typing import Any, TypeVar

import torch

# Parts that run at the same time.
AT_ONCE = 2
# Numbers of a portion of weights: a millisecond of Adam's.
PORTION = 1 << 19
# Bytes of the largest block by which glibc learns what to keep: 32 MiB and its own header.
LARGEST_LESSON = (1 << 25) - (1 << 16)

Rows = TypeVar('Rows')
Learnt = tuple[torch.Tensor, dict[str, torch.Tensor]]


def crew_for(x: object) -> ThreadPoolExecutor | None:
    """
    Return who computes `AT_ONCE` parts about the rows of ``x`` at once.

    A part begins after those that were submitted before it, so it may wait for one of them.
    ``None`` where one after another is best: on a GPU, for next to no rows, and where torch has
    fewer threads (`torch.set_num_threads`).
    """
    threads = torch.get_num_threads()
    if (threads < AT_ONCE or not isinstance(x, torch.Tensor) or x.device.type != 'cpu'
            or len(x) <= AT_ONCE):
        return None
    return _crew(threads // AT_ONCE)


def in_parts(batch: Rows, count: int) -> list[Rows]:
    """Return ``count`` parts of a dataclass of tensors of B rows each, one after another."""
    tensors = {item.name: value.tensor_split(count)
               for item in fields(batch)  # type: ignore[arg-type]
               if (value := getattr(batch, item.name)) is not None}
    return [replace(batch, **{  # type: ignore[type-var]
        name: pieces[number] for name, pieces in tensors.items()}) for number in range(count)]


def learn(crew: ThreadPoolExecutor, aims: Sequence[Sequence[Callable[[], torch.Tensor]]],
          losses: Callable[[Callable[[int], torch.Tensor]], Sequence[Callable[[], Learnt]]],
          steps: Sequence[Sequence[Callable[[], None]]]) -> list[Learnt]:
    """
    Leave the gradients of losses with the weights, take the steps; return the losses without them.

    Where one fails, what waits for nothing of it has been done, steps included.

    :param aims: What the rows are to be like, each aim in pieces of rows one after another.
    :param losses: Of what returns an aim of all rows by its number. No two reach the same
        weights, so that in whatever order they end gradients are the same.
    :param steps: Of each loss what may follow it and all losses before it, in pieces that touch
        nothing of each other's.
    """
    asked = [[crew.submit(piece) for piece in pieces] for pieces in aims]

    def of_all_rows(number: int) -> torch.Tensor:
        return torch.cat([piece.result() for piece in asked[number]])

    learning = [crew.submit(_learn, loss) for loss in losses(of_all_rows)]
    before = [piece for pieces in asked for piece in pieces]
    taken = []
    for loss, pieces in zip(learning, steps, strict=True):
        before = [*before, loss]
        taken += [crew.submit(_after, before, piece) for piece in pieces]
    # All of them, so that nothing of an update goes on behind one that failed.
    wait([*before, *taken])
    for step in taken:
        step.result()
    return [loss.result() for loss in learning]


def _after(before: Sequence[Future[Any]], step: Callable[[], None]) -> None:
    for one in before:
        one.result()
    step()


def _learn(loss: Callable[[], Learnt]) -> Learnt:
    value, metrics = loss()
    value.backward()
    return value.detach(), metrics


def in_pieces(aim: Callable[..., torch.Tensor], count: int, *whole: Any,
              ) -> list[Callable[[], torch.Tensor]]:
    """Return what computes ``aim`` of dataclasses of tensors of B rows in ``count`` pieces."""
    return [functools.partial(aim, *rows) for rows in zip(
        *(in_parts(one, count) for one in whole), strict=True)]


def steps_of(optimizer: torch.optim.Optimizer, weights: Sequence[torch.Tensor],
             then: Callable[[slice], None] | None = None) -> list[Callable[[], None]]:
    """
    Return the step of these ``weights`` alone, in portions worth a thread's while.

    :param optimizer: Of one group, these weights among it.
    :param then: What is to follow the step of some of ``weights``.
    """
    def step(some: slice) -> None:
        group, = optimizer.param_groups
        # Shares what the optimizer knows of each of its weights.
        part = copy.copy(optimizer)
        part.param_groups = [{**group, 'params': weights[some]}]
        part.step()
        if then is not None:
            then(some)

    return [functools.partial(step, some) for some in _portions(weights)]


def _portions(weights: Sequence[torch.Tensor]) -> list[slice]:
    bounds, size = [0], 0
    for number, weight in enumerate(weights):
        if size and size + weight.numel() > PORTION:
            bounds, size = [*bounds, number], 0
        size += weight.numel()
    return [slice(*ends) for ends in itertools.pairwise([*bounds, len(weights)])]


@functools.cache
def _crew(share: int) -> ThreadPoolExecutor:
    """Return threads that have ``share`` threads of torch's each."""
    together, threads = threading.Barrier(AT_ONCE), torch.get_num_threads()

    def begin() -> None:
        # Asked first: torch sets up a thread when it is first asked, over what was set before.
        torch.get_num_threads()
        torch.set_num_threads(share)

    # What threads give back glibc gives back to the system, which then clears page by page what
    # the next update asks for; but not what is smaller than the largest it was ever given back.
    torch.empty(LARGEST_LESSON, dtype=torch.uint8)
    crew = ThreadPoolExecutor(AT_ONCE, 'at_once', begin)
    for there in [crew.submit(together.wait) for _ in range(AT_ONCE)]:
        there.result()
    # Each thread keeps its own number; one that begins later takes the one that was set last.
    torch.set_num_threads(threads)
    return crew


# Threads do not survive a fork.
os.register_at_fork(after_in_child=_crew.cache_clear)
