"""A demonstration keeps out of domains that somebody uses."""

from __future__ import annotations

import socket

import pytest

from chunked_vla_ros.demo.free_domain import free_domain, NoFreeDomain

# Above all that are taken of themselves, here or by tests beside this one, and above the ports
# that Linux hands out to anyone.
SEARCHED = range(232, 215, -1)


@pytest.fixture
def two() -> list[int]:
    """Return two domains that nobody uses at the moment."""
    with free_domain(SEARCHED) as one, free_domain(SEARCHED) as other:
        return [one, other]


def test_unused_domain_is_taken(two: list[int]) -> None:
    with free_domain(two) as domain:
        assert domain == two[0]


def test_domain_with_a_participant_is_passed_over(two: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        # The first of its unicast ports: domain 232 begins at 7400 + 250 * 232 = 65400.
        participant.bind(('0.0.0.0', 7400 + 250 * two[0] + 10))
        with free_domain(two) as domain:
            assert domain == two[1]


def test_two_demonstrations_do_not_share_a_domain(two: list[int]) -> None:
    with free_domain(two) as first, free_domain(two) as second:
        assert [first, second] == two


def test_domain_is_free_again_afterwards(two: list[int]) -> None:
    with free_domain(two[:1]):
        pass
    with free_domain(two[:1]) as domain:
        assert domain == two[0]


def test_no_free_domain_names_the_remedy(two: list[int]) -> None:
    with free_domain(two[:1]), pytest.raises(NoFreeDomain, match='--domain-id'), \
            free_domain(two[:1]):
        pass


def test_a_domain_that_was_just_left_is_not_taken_at_once() -> None:
    # Somebody who was killed in it may still seem to be there.
    with free_domain() as former:
        pass
    with free_domain() as domain:
        assert domain != former


def test_that_holds_beside_somebody_who_has_the_next_one() -> None:
    with free_domain() as former:
        pass
    with free_domain(range(former - 1, 0, -1)):
        with free_domain() as one:
            pass
        with free_domain() as other:
            assert len({former, one, other}) == 3
