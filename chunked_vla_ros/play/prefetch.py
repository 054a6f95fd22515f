"""
Decode and compress a camera's frames in a thread of its own, a few ahead of when they are due.

Memory is bounded by ``AHEAD`` images per camera. Knows no ROS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import queue
import threading

import cv2
import numpy as np
import numpy.typing as npt

AHEAD = 16
JPEG_QUALITY = 95
POLL_S = 0.1


class Prefetch:
    """Iterate over (time in [s], JPEG bytes) of ``frames``, (time, (H, W, 3) RGB)."""

    def __init__(self, frames: Iterable[tuple[float, npt.NDArray[np.uint8]]]) -> None:
        self._frames = frames
        self._queue: queue.Queue[tuple[float, bytes] | Exception | None] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        """Yield images; what went wrong in the thread is raised here."""
        while (found := self._queue.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found

    def close(self) -> None:
        """End the thread, also in the middle."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for at_s, frame in self._frames:
                done, data = cv2.imencode(
                    '.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
                    (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
                if not done:
                    raise ValueError(f'an image of {frame.shape} cannot be compressed')
                if not self._put((at_s, data.tobytes())):
                    return
            self._put(None)
        except Exception as error:  # noqa: BLE001 - handed over to whoever iterates
            self._put(error)

    def _put(self, item: tuple[float, bytes] | Exception | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return True
        return False
