"""
Find a ROS domain that nobody on this machine uses, and keep others of our kind out of it.

DDS derives its UDP ports from the domain, so a domain is taken when one of its first participants'
ports is. Knows nothing about ROS beyond that formula (DDSI-RTPS 2.5, section 9.6.2.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
import socket

FIRST_PORT = 7400
PORTS_PER_DOMAIN = 250
# Multicast discovery, multicast data, then two unicast ports per participant.
USED_OFFSETS = (0, 1, 10, 11, 12, 13)
# Above 101 the ports fall into the range that Linux hands out to anyone.
CANDIDATES = range(101, 0, -1)


class NoFreeDomain(OSError):
    """Every candidate is in use; the message is one line."""


_left: deque[int] = deque([CANDIDATES[-1]], maxlen=1)    # the newest that was taken


@contextmanager
def free_domain(candidates: Iterable[int] | None = None) -> Iterator[int]:
    """
    Yield a domain id that is free, reserved until the block ends; another one each time.

    A domain that was left may still hold what a killed process said last: Fast DDS keeps unread
    announcements in shared memory, and a newcomer takes them for somebody who is alive.

    :param candidates: Tried in this order.

    :raises NoFreeDomain: if there is none.
    """
    ours = candidates is None
    if candidates is None:
        first = CANDIDATES.index(_left[0]) + 1
        candidates = (*CANDIDATES[first:], *CANDIDATES[:first])
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as reservation:
            # TCP, which DDS does not use by default: two demonstrations that start together
            # exclude each other without disturbing their own participants.
            if _binds(reservation, FIRST_PORT + PORTS_PER_DOMAIN * domain) and _unused(domain):
                reservation.listen()
                if ours:
                    _left.append(domain)
                yield domain
                return
    raise NoFreeDomain('no free ROS domain: set --domain-id to one that you know is yours')


def _unused(domain: int) -> bool:
    for offset in USED_OFFSETS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            if not _binds(probe, FIRST_PORT + PORTS_PER_DOMAIN * domain + offset, '0.0.0.0'):
                return False
    return True


def _binds(probe: socket.socket, port: int, host: str = '127.0.0.1') -> bool:
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True
