"""
One RLDS episode: lists of an example turned into rows, each held against the others' length.

Knows names of features, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from chunked_vla_ros.core.dataset_columns import DONE, REWARD
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import ColumnArray, DatasetError
from chunked_vla_ros.data.rlds_features import RldsFeature
from chunked_vla_ros.data.tf_example import FeatureValue

STEPS = 'steps/'
OBSERVATION = 'steps/observation/'
INSTRUCTIONS = (f'{STEPS}language_instruction', f'{OBSERVATION}natural_language_instruction')
# Features of one number a step: they tell how many steps there are.
SCALARS = ('is_first', 'is_last', 'is_terminal', 'reward', 'discount')
COLUMNS = {'reward': REWARD, 'is_terminal': DONE}
PICTURE_STARTS = (b'\xff\xd8', b'\x89PNG')


class EpisodeSteps:
    """
    The steps of one episode.

    :param source: File and record, as errors name them.
    :param listed: What features.json says, ``None`` without it.
    """

    def __init__(self, source: str, values: Mapping[str, FeatureValue],
                 listed: Mapping[str, RldsFeature] | None) -> None:
        self.source, self._values, self._listed = source, values, listed

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its features."""
        return tuple(sorted(self._values))

    @cached_property
    def count(self) -> int:
        """
        Return the number of steps.

        :raises DatasetError: the features that have one number a step disagree, or are missing.
        """
        found = {name: len(self._values[STEPS + name]) for name in SCALARS
                 if STEPS + name in self._values}
        if not found or len(set(found.values())) != 1 or not min(found.values()):
            raise DatasetError(
                f'{self.source}: has {found or "none"} of {", ".join(SCALARS)}, expected one '
                'number a step, as many of each')
        return next(iter(found.values()))

    def vector(self, names: tuple[str, ...]) -> str | None:
        """Return the first of ``names`` that holds numbers."""
        return next((name for name in names
                     if isinstance(self._values.get(name), np.ndarray)), None)

    def width(self, name: str) -> int:
        """
        Return how many numbers a step of ``name`` has.

        :raises DatasetError: the values cannot be shared out among the steps.
        """
        if self._listed is not None and name in self._listed:
            width = self._listed[name].width
        else:
            width = len(self._values[name]) // self.count
        if width < 1:
            raise DatasetError(f'{self.source}: {name} has {width} numbers a step, expected some')
        return width

    def matrix(self, name: str, width: int) -> FloatArray:
        """
        Return the rows of ``name``, (N, width).

        :raises DatasetError: it is missing, or of another size.
        """
        values = self._values.get(name)
        if not isinstance(values, np.ndarray) or len(values) != self.count * width:
            found = 'no numbers' if not isinstance(values, np.ndarray) else len(values)
            raise DatasetError(f'{self.source}: {name} has {found}, expected {self.count} steps '
                               f'of {width}')
        return values.reshape(self.count, width).astype(np.float64)

    def pictures(self, camera: str) -> tuple[memoryview, ...]:
        """
        Return one encoded picture for each step.

        :raises DatasetError: there are fewer or more.
        """
        pictures = self._values.get(OBSERVATION + camera)
        if not isinstance(pictures, tuple) or len(pictures) != self.count:
            found = len(pictures) if isinstance(pictures, tuple) else 'no'
            raise DatasetError(
                f'{self.source}: has {found} pictures of {camera}, expected {self.count}')
        return pictures

    def is_picture(self, name: str) -> bool:
        """Return whether ``name`` is a camera: by features.json, or by what it holds."""
        values = self._values[name]
        if not isinstance(values, tuple) or not values:
            return False
        if self._listed is not None:
            return name in self._listed and self._listed[name].kind == 'image'
        return bytes(values[0][:4]).startswith(PICTURE_STARTS)

    @property
    def task(self) -> str:
        """Return the instruction, '' where there is none."""
        for name in INSTRUCTIONS:
            texts = self._values.get(name)
            if isinstance(texts, tuple) and texts:
                return bytes(texts[0]).decode('utf-8', 'replace')
        return ''

    def columns(self) -> Mapping[str, ColumnArray]:
        """
        Return rewards and ends of the steps.

        :raises DatasetError: a step has none.
        """
        found: dict[str, ColumnArray] = {}
        for name, column in COLUMNS.items():
            values = self._values.get(STEPS + name)
            if not isinstance(values, np.ndarray):
                continue
            if len(values) != self.count:
                raise DatasetError(f'{self.source}: {name} has {len(values)} values, expected '
                                   f'{self.count}')
            found[column] = values.astype(bool) if column == DONE else values
        return found

    def facts(self) -> Mapping[str, str]:
        """Return the file that the writer made the episode of."""
        origin = self._values.get('episode_metadata/file_path')
        if not isinstance(origin, tuple) or not origin:
            return {}
        return {'source': bytes(origin[0]).decode('utf-8', 'replace')}


def camera_names(steps: EpisodeSteps) -> tuple[str, ...]:
    """Return the cameras: what features.json calls an image, or what holds JPEG or PNG."""
    return tuple(
        name.removeprefix(OBSERVATION) for name in steps.names
        if name.startswith(OBSERVATION) and steps.is_picture(name))


def joint_names(what: str, width: int) -> tuple[str, ...]:
    """Return names for the numbers of a step: RLDS has none."""
    return tuple(f'{what}.{index}' for index in range(width))
