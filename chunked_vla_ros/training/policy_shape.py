"""What a policy sees and answers: joints, cameras, horizon, vocabulary. Knows no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.types import DimKind


@dataclass(frozen=True)
class PolicyShape:
    """
    The sizes that data, network and bundle agree on.

    :ivar joint_names: J joints in the order of state and actions.
    :ivar dim_kinds: How each of them may be blended.
    :ivar cameras: C cameras in the order of the network's images.
    :ivar horizon: Points in a chunk, H.
    :ivar step_s: Spacing of the points in [s].
    :ivar token_length: Tokens of an instruction, L.
    :ivar vocabulary: Different tokens.
    """

    joint_names: tuple[str, ...]
    dim_kinds: tuple[DimKind, ...]
    cameras: tuple[BundleCamera, ...]
    horizon: int
    step_s: float
    token_length: int
    vocabulary: int

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, for JSON."""
        return {
            'joint_names': list(self.joint_names),
            'dim_kinds': [kind.name.lower() for kind in self.dim_kinds],
            'cameras': [{'name': camera.name, 'width': camera.width, 'height': camera.height}
                        for camera in self.cameras],
            'horizon': self.horizon, 'step_s': self.step_s,
            'token_length': self.token_length, 'vocabulary': self.vocabulary}

    @staticmethod
    def from_dict(said: Mapping[str, Any]) -> PolicyShape:
        """
        Return the shape that ``said`` describes.

        :raises KeyError, ValueError, TypeError: it does not describe one.
        """
        return PolicyShape(
            tuple(map(str, said['joint_names'])),
            tuple(DimKind[str(kind).upper()] for kind in said['dim_kinds']),
            tuple(BundleCamera(str(camera['name']), int(camera['width']), int(camera['height']))
                  for camera in said['cameras']),
            int(said['horizon']), float(said['step_s']), int(said['token_length']),
            int(said['vocabulary']))
