"""
Parts of an update at once on a processor, each on its share of torch's threads.

Torch's own threads divide every single operation and wait for each other after it, which leaves
a quarter of two cores idle where an operation takes a millisecond. Parts that need nothing of
each other keep both busy. Knows no network and no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
import functools
import os
import threading
from typing import TypeVar

import torch

# Parts that run at the same time.
AT_ONCE = 2

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


def learn(crew: ThreadPoolExecutor, aims: Sequence[Callable[[], Sequence[torch.Tensor]]],
          losses: Callable[[Callable[[], Sequence[torch.Tensor]]], Sequence[Callable[[], Learnt]]],
          ) -> list[Learnt]:
    """
    Leave the gradients of losses with the weights; return the losses without them.

    :param aims: What each part of the rows is to be like, one part after another.
    :param losses: Of what returns that of all rows. The first does without and is begun before
        it. No two reach the same weights, so that in whatever order they end gradients are the
        same.
    """
    asked: list[Future[Sequence[torch.Tensor]]] = []

    def of_all_rows() -> list[torch.Tensor]:
        return [torch.cat(pieces) for pieces in zip(
            *(part.result() for part in asked), strict=True)]

    first, *others = losses(of_all_rows)
    learning = [crew.submit(_learn, first)]
    asked += [crew.submit(part) for part in aims]
    learning += [crew.submit(_learn, loss) for loss in others]
    return [loss.result() for loss in learning]


def _learn(loss: Callable[[], Learnt]) -> Learnt:
    value, metrics = loss()
    value.backward()
    return value.detach(), metrics


@functools.cache
def _crew(share: int) -> ThreadPoolExecutor:
    """Return threads that have ``share`` threads of torch's each."""
    together, threads = threading.Barrier(AT_ONCE), torch.get_num_threads()

    def begin() -> None:
        # Asked first: torch sets up a thread when it is first asked, over what was set before.
        torch.get_num_threads()
        torch.set_num_threads(share)

    crew = ThreadPoolExecutor(AT_ONCE, 'at_once', begin)
    for there in [crew.submit(together.wait) for _ in range(AT_ONCE)]:
        there.result()
    # Each thread keeps its own number; one that begins later takes the one that was set last.
    torch.set_num_threads(threads)
    return crew


# Threads do not survive a fork.
os.register_at_fork(after_in_child=_crew.cache_clear)
