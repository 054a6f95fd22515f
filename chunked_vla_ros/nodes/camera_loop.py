"""
Render the newest state of the world in a thread of its own and hand the frames out.

A frame that is not rendered before the next state arrives is left out, as a real camera would
drop it. Knows nothing about topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
import threading
import time

from chunked_vla_ros.core.latest import LatestSlot
from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import CameraFrame, FloatArray
from chunked_vla_ros.sim.cameras import CameraRig

START_TIMEOUT_S = 30.0


class CameraLoop:
    """
    Owns a camera rig.

    :param make_rig: Called in the loop's thread, as a rig belongs to the thread that made it.
    :param publish: Called in the loop's thread with a frame per camera.
    :ivar focal_px: Focal length in pixels by camera.
    :ivar frames: Frames rendered per camera.
    :ivar render_s: Time the newest set of frames took in [s].
    :raises CameraError: if the rig cannot render.
    """

    def __init__(self, make_rig: Callable[[], CameraRig], cameras: tuple[CameraSpec, ...],
                 publish: Callable[[Mapping[str, CameraFrame]], None]) -> None:
        self._cameras, self._publish = cameras, publish
        self._slot: LatestSlot[tuple[int, FloatArray]] = LatestSlot()
        self.frames, self.render_s = 0, 0.0
        ready: Future[dict[str, float]] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(make_rig, ready), name='cameras', daemon=True)
        self._thread.start()
        self.focal_px = ready.result(START_TIMEOUT_S)

    def show(self, stamp_ns: int, configuration: FloatArray) -> None:
        """Have the state that the world had at ``stamp_ns`` rendered, unless a newer one comes."""
        self._slot.put((stamp_ns, configuration))

    def close(self) -> None:
        """End the thread."""
        self._slot.close()
        self._thread.join(timeout=2.0)

    @property
    def alive(self) -> bool:
        """Return whether frames are rendered."""
        return self._thread.is_alive()

    def _run(self, make_rig: Callable[[], CameraRig],
             ready: Future[dict[str, float]]) -> None:
        try:
            rig = make_rig()
        except ValueError as error:         # reported by the constructor, in the caller's thread
            ready.set_exception(error)
            return
        ready.set_result({camera.name: rig.focal_px(camera.name) for camera in self._cameras})
        while (state := self._slot.take()) is not None:
            stamp_ns, configuration = state
            begun_s = time.monotonic()
            pictures = rig.render(configuration)
            self.render_s = time.monotonic() - begun_s
            self.frames += 1
            self._publish({name: CameraFrame(stamp_ns, pixels)
                           for name, pixels in pictures.items()})
        rig.close()
