"""A camera hangs when equal bytes keep coming; silence and a scene at rest are something else."""

import array

from chunked_vla_ros.core.freeze_watch import FreezeWatch

MS = 1_000_000
NOW = 10**18


def image(value):
    return array.array('B', [value] * 12)


def watched(images, step_ms=100, after_s=0.5):
    watch = FreezeWatch(after_s)
    for index, value in enumerate(images):
        watch.add(image(value), NOW + index * step_ms * MS)
    return watch.frozen_s


def test_equal_images_for_longer_than_allowed_are_a_frozen_camera():
    assert watched([1] * 6) == 0.0         # 0.5 s from the first to the last
    assert watched([1] * 7) == 0.6


def test_a_different_image_ends_it():
    assert watched([1] * 9 + [2]) == 0.0
    assert watched([1, 2] * 9) == 0.0


def test_unchecked_means_never():
    assert watched([1] * 100, after_s=0.0) == 0.0


def test_one_image_of_a_slow_camera_is_not_frozen():
    assert watched([1, 2], step_ms=5000) == 0.0
    assert watched([1], step_ms=5000) == 0.0


def test_a_clock_set_back_starts_the_count_anew():
    watch = FreezeWatch(0.5)
    watch.add(image(1), NOW)
    watch.add(image(1), NOW - 10**12)
    watch.add(image(1), NOW - 10**12 + 400 * MS)
    assert watch.frozen_s == 0.0
    watch.add(image(1), NOW - 10**12 + 600 * MS)
    assert watch.frozen_s == 0.6
    watch.clear()
    assert watch.frozen_s == 0.0
