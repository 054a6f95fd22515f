"""Which DDS profile a graph runs with."""

from pathlib import Path

import pytest

from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.transport import PROFILE_VARIABLE, transport_environment

NEWER_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'


def test_fast_dds_gets_our_profile_by_default() -> None:
    added = transport_environment({})
    assert list(added) == [PROFILE_VARIABLE]
    assert '<type>SHM</type>' in Path(added[PROFILE_VARIABLE]).read_text()


def test_a_profile_of_the_user_stays_in_force() -> None:
    assert transport_environment({PROFILE_VARIABLE: '/etc/theirs.xml'}) == {}


def test_the_name_that_jazzy_ignores_does_not_keep_ours_out() -> None:
    assert PROFILE_VARIABLE in transport_environment({NEWER_VARIABLE: '/etc/theirs.xml'})


def test_another_middleware_is_left_alone() -> None:
    assert transport_environment({'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}) == {}


def test_every_node_of_the_graph_gets_it_sender_and_receiver_alike(
        monkeypatch: pytest.MonkeyPatch) -> None:
    # Launch and `up` both hand on what the specification of a node says.
    monkeypatch.delenv(PROFILE_VARIABLE, raising=False)
    specs = deploy_graph(DeployOptions())
    assert {spec.name for spec in specs} >= {'sim', 'inference', 'chunk_executor'}
    for spec in specs:
        assert dict(spec.environment) == transport_environment({}), spec.name
