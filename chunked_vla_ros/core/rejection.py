"""Why an input was refused: a counted reason and one line of detail, never a silent drop."""

from __future__ import annotations

from enum import Enum


class Rejection(Enum):
    """Reasons to refuse a chunk whole; the text is what people read in ExecutorState."""

    NOT_FINITE = 'not finite'
    WRONG_WIDTH = 'wrong width'
    JOINT_NAMES = 'joint names'
    EMPTY = 'no points'
    TOO_LONG = 'too many points'
    POINT_TIMES = 'point times'
    ZERO_STAMP = 'zero stamp'
    STALE = 'stale'
    FUTURE = 'from the future'
    OUT_OF_ORDER = 'out of order'
    DUPLICATE = 'duplicate'
    FOREIGN_SESSION = 'another session is running'
    JUMP = 'jump'
    START_POSE = 'start pose'
    UNREACHABLE = 'not reachable within limits'
    UNSUPPORTED = 'unsupported space, reference or kind'
    NOT_LISTENING = 'executor is not listening'
    SUPERSEDED = 'a newer one came with it'
    INTERNAL = 'internal error'


class ChunkRejected(ValueError):
    """A chunk is refused; carries the counted reason and says expected and found values."""

    def __init__(self, rejection: Rejection, detail: str) -> None:
        super().__init__(f'{rejection.value}: {detail}')
        self.rejection = rejection
        self.detail = detail


class InputRejected(ValueError):
    """A sensor message cannot be used; the message is one line that says why."""
