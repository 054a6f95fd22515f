"""
The pictures that a policy is shown, rendered only when it is about to look.

A camera exposes at the contract's rate and its picture arrives a stated time later; a picture
costs ten milliseconds, so only the newest that has arrived is rendered. Pixels become frames by
the rule of live messages. Knows no policy and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport, RobotSpec
from chunked_vla_ros.core.types import CameraFrame, FloatArray, ImageArray
from chunked_vla_ros.data.image_frames import CHANNELS, unpacked_frame
from chunked_vla_ros.sim.cameras import CameraRig
from chunked_vla_ros.sim.world import World

MOST_EXPOSURES = 64


class CamerasUnfit(ValueError):
    """A camera of the contract cannot be simulated here; the message is one line."""


@dataclass(frozen=True)
class _RenderedPicture:
    """A picture as sensor_msgs/Image would say it."""

    width: int
    height: int
    encoding: str
    step: int
    data: bytes


def check_cameras_simulated(robot: RobotSpec, names: Sequence[str], remedy: str) -> None:
    """
    Do nothing if each of the cameras publishes what the simulator renders.

    :param remedy: How to go on with others, for the message.
    :raises CamerasUnfit: naming the camera.
    """
    for camera in robot.cameras:
        if camera.name in names and (
                camera.encoding != 'rgb8' or camera.transport is not ImageTransport.RAW):
            raise CamerasUnfit(
                f'{robot.name}: camera {camera.name} is {camera.transport.value} '
                f'{camera.encoding}, in process only raw rgb8 is simulated; {remedy}')


class CameraFeed:
    """
    The cameras of one run.

    :param rig: Renders all of ``cameras``; ``None`` if there are none.
    :param delay_ns: From a picture's exposure to its arrival.
    :param every: Joint samples from one picture to the next.
    """

    def __init__(self, rig: CameraRig | None, cameras: Sequence[CameraSpec],
                 delay_ns: int, every: int) -> None:
        self._rig, self._cameras, self._delay_ns = rig, tuple(cameras), delay_ns
        self._every, self._samples = every, 0
        self._exposures: deque[tuple[int, FloatArray]] = deque(maxlen=MOST_EXPOSURES)
        self._shown_ns = -1

    def sampled(self, now_ns: int, world: World) -> None:
        """Expose a picture if one is due; called at every joint sample, as sim_node does."""
        if self._cameras and self._samples % self._every == 0:
            self._exposures.append((now_ns, world.configuration()))
        self._samples += 1

    def frames(self, now_ns: int) -> Iterator[tuple[str, CameraFrame]]:
        """Yield the newest picture of each camera that has arrived, unless it was shown before."""
        arrived = [one for one in self._exposures if one[0] + self._delay_ns <= now_ns]
        if not arrived or arrived[-1][0] == self._shown_ns or self._rig is None:
            return
        self._shown_ns, configuration = arrived[-1]
        pictures = self._rig.render(configuration)
        for camera in self._cameras:
            yield camera.name, unpacked_frame(
                _picture(pictures[camera.name]), camera, self._shown_ns)


def _picture(pixels: ImageArray) -> _RenderedPicture:
    height, width, _ = pixels.shape
    return _RenderedPicture(width, height, 'rgb8', width * CHANNELS, pixels.tobytes())
