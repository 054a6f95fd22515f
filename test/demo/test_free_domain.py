"""A demonstration keeps out of domains that somebody uses."""

from __future__ import annotations

import socket

import pytest

from chunked_vla_ros.demo.free_domain import free_domain, NoFreeDomain

# Ports of domain 97: 7400 + 250 * 97 = 31650 and upwards.
DOMAIN = 97
FIRST_UNICAST_PORT = 31650 + 10


def test_unused_domain_is_taken() -> None:
    with free_domain([DOMAIN]) as domain:
        assert domain == DOMAIN


def test_domain_with_a_participant_is_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(('0.0.0.0', FIRST_UNICAST_PORT))
        with free_domain([DOMAIN, 96]) as domain:
            assert domain == 96


def test_two_demonstrations_do_not_share_a_domain() -> None:
    with free_domain([DOMAIN, 96]) as first, free_domain([DOMAIN, 96]) as second:
        assert {first, second} == {DOMAIN, 96}


def test_domain_is_free_again_afterwards() -> None:
    with free_domain([DOMAIN]):
        pass
    with free_domain([DOMAIN]) as domain:
        assert domain == DOMAIN


def test_no_free_domain_names_the_remedy() -> None:
    with free_domain([DOMAIN]), pytest.raises(NoFreeDomain, match='--domain-id'), \
            free_domain([DOMAIN]):
        pass
