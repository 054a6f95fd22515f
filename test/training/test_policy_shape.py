"""A policy's shape goes through JSON and comes back."""

import json

import pytest

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.policy_shape import PolicyShape

SHAPE = PolicyShape(('a', 'b'), (DimKind.CONTINUOUS, DimKind.WRAPPED),
                    (BundleCamera('front', 64, 48),), 16, 0.05, 12, 40)


def test_it_comes_back_from_json_as_it_was() -> None:
    assert PolicyShape.from_dict(json.loads(json.dumps(SHAPE.to_dict()))) == SHAPE


@pytest.mark.parametrize('key', list(SHAPE.to_dict()))
def test_every_part_is_needed(key: str) -> None:
    said = SHAPE.to_dict()
    del said[key]
    with pytest.raises(KeyError, match=key):
        PolicyShape.from_dict(said)
