"""
Notice a camera that hangs: the same bytes again and again, each time with a new stamp.

A sensor's noise makes two pictures of one scene differ in their first bytes, so comparing whole
messages costs next to nothing while the camera lives, and no checksum can be fooled. Time is an
argument; what the bytes mean is not known here.
"""

from __future__ import annotations

from chunked_vla_ros.core.types import NS_PER_S


class FreezeWatch:
    """
    Compare each image with the one before.

    :param after_s: How long equal images may go on in [s]; 0: for ever.
    """

    def __init__(self, after_s: float) -> None:
        self._after_ns = round(after_s * NS_PER_S)
        self._image: object = None
        self._first_ns = self._last_ns = 0

    def add(self, image: object, now_ns: int) -> None:
        """Take the bytes of an image; ``image`` is kept and must not change."""
        if not self._after_ns:
            return
        if self._image is None or now_ns < self._last_ns or image != self._image:
            self._first_ns = now_ns
        self._image, self._last_ns = image, now_ns

    @property
    def frozen_s(self) -> float:
        """
        Return for how long in [s] the camera has sent one image, 0.0 while that is allowed.

        From arrival to arrival: a camera that is silent is too old, not frozen.
        """
        span_ns = self._last_ns - self._first_ns
        return span_ns / NS_PER_S if self._after_ns and span_ns > self._after_ns else 0.0

    def clear(self) -> None:
        """Forget the image."""
        self._image, self._first_ns, self._last_ns = None, 0, 0
