"""
Episodes out of a bag: rows on a grid as live inference would have seen them, frames on demand.

Two passes: the first takes stamps, joints and references of images, the second decodes the images
that rows use, one by one. What cannot be converted is refused whole. Knows no dataset format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chunked_vla_ros.core.conversion_rules import Anchor, ConversionRefused, ConversionRules
from chunked_vla_ros.core.dataset_episode import DatasetEpisode
from chunked_vla_ros.core.episode_marks import (
    ACTION_TOPIC,
    interventions,
    outcome_of,
    REWARD_OF,
    rewards,
    STEP_FROM_ROW,
    tasks,
)
from chunked_vla_ros.core.episode_name import UNFINISHED
from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.core.resampling import ACTION, resample, Rows, STATE
from chunked_vla_ros.core.robot_spec import RobotSpec, StreamSpec
from chunked_vla_ros.core.types import FloatArray, ImageArray
from chunked_vla_ros.data.bag_frames import FramePass
from chunked_vla_ros.data.bag_messages import BagError, BagReader
from chunked_vla_ros.data.bag_recording import BagRecording, read_recording
from chunked_vla_ros.data.episode_folder import TRASH
from chunked_vla_ros.data.episode_labels import EpisodeLabelError, read_labels

DEFAULT_FPS = 30.0


def bag_episodes(bag: Path, robot: RobotSpec, rules: ConversionRules) -> list[DatasetEpisode]:
    """
    Return the episodes in ``bag``: several where a stream paused, none if the rules leave it out.

    Frames are read when they are asked for; the bag must stay as it is until then.

    :raises ConversionRefused: one line that names bag, fault and remedy.
    """
    try:
        _refuse_by_name(bag, rules)
        reader = BagReader(bag)
        _refuse_damaged(reader, rules)
        labelled = _labelled(bag, reader)
        seen = _with_cameras(robot, rules.cameras)
        found = read_recording(reader, seen, rules)
        outcome = outcome_of(found.marks) if labelled is None else labelled
        if outcome is Outcome.FAILURE and not rules.include_failures:
            return []
        return _Conversion(reader, seen, rules, found, outcome).episodes()
    except (ConversionRefused, BagError, EpisodeLabelError) as error:
        line = ' '.join(str(error).split())
        named = line if line.startswith(str(bag)) else f'{bag}: {line}'
        raise ConversionRefused(named) from error
    except OSError as error:
        raise ConversionRefused(f'{bag}: cannot be read ({error.strerror or error})') from error


def rows_per_second(robot: RobotSpec, rules: ConversionRules) -> float:
    """Return how many rows a second has in [Hz]; ``robot`` has the cameras that are taken."""
    if rules.fps is not None:
        return rules.fps
    if rules.anchor == Anchor.STATE.value:
        return robot.state.rate_hz
    return min((camera.stream.rate_hz for camera in robot.cameras), default=DEFAULT_FPS)


@dataclass(frozen=True)
class _Conversion:
    """A bag that has been read once, about to become episodes."""

    reader: BagReader
    robot: RobotSpec
    rules: ConversionRules
    found: BagRecording
    outcome: Outcome

    def episodes(self) -> list[DatasetEpisode]:
        """
        Return the episodes.

        :raises ConversionRefused: not one part has enough rows.
        """
        fps = rows_per_second(self.robot, self.rules)
        parts = resample(_patient(self.robot, self.rules.gap_s), self.found.streams, fps,
                         Anchor(self.rules.anchor))
        kept = [part for part in parts if len(part.times_ns) >= self.rules.min_rows]
        if not kept:
            longest = max((len(part.times_ns) for part in parts), default=0)
            raise ConversionRefused(
                f'no part has {self.rules.min_rows} rows in which every stream is there, the '
                f'longest has {longest}: lower --min-rows, or raise --gap-s')
        facts = self._facts(parts, kept)
        sums = rewards([part.times_ns for part in kept], self.found.marks)
        return [self._episode(fps, part, reward, index, len(kept), facts)
                for index, (part, reward) in enumerate(zip(kept, sums, strict=True), 1)]

    def _episode(self, fps: float, rows: Rows, reward: FloatArray, number: int, parts: int,
                 facts: dict[str, str]) -> DatasetEpisode:
        count = len(rows.times_ns)
        last = np.arange(count) == count - 1
        # How the task went shows at its end; the parts before one end by a pause in the recording.
        outcome = self.outcome if number == parts else Outcome.UNLABELED
        name = self.reader.path.resolve().name
        marks = self.found.marks
        task = self.rules.task
        return DatasetEpisode(
            source=name if parts == 1 else f'{name} part {number} of {parts}', fps=fps,
            times_ns=rows.times_ns, state=rows.state, action=rows.action,
            joint_names=self.robot.joint_names, action_source=self.found.action_source,
            tasks=(task,) * count if task
            else tasks(rows.times_ns, marks, self.reader.facts.get('task', '')),
            reward=reward, success=last & (outcome is Outcome.SUCCESS),
            done=last & (outcome is not Outcome.UNLABELED),
            intervention=interventions(rows.times_ns, marks), stamps_ns=rows.stamps_ns,
            outcome=outcome,
            frame_shapes={camera.name: camera.frame_shape for camera in self.robot.cameras},
            open_frames=lambda camera: self._frames(camera, rows), facts=facts)

    def _frames(self, camera: str, rows: Rows) -> Iterator[ImageArray]:
        return FramePass(self.reader, self.found.cameras[camera], rows.places[camera]).frames()

    def _facts(self, parts: list[Rows], kept: list[Rows]) -> dict[str, str]:
        facts = dict(self.reader.facts)
        facts |= {f'note: {name}': note for name, note in self.found.notes.items()}
        if self.reader.damaged:
            facts['note: damaged'] = '; '.join(self.reader.damaged)
        dropped = sum(len(part.times_ns) for part in parts) - sum(
            len(part.times_ns) for part in kept)
        if dropped:
            facts['note: rows'] = (f'{dropped} left out, in {len(parts) - len(kept)} parts of '
                                   f'fewer than {self.rules.min_rows}')
        facts |= {ACTION_TOPIC: self.found.action_topic, REWARD_OF: STEP_FROM_ROW}
        if self.found.policy_id:
            facts.setdefault('policy_id', self.found.policy_id)
        return facts


def _with_cameras(robot: RobotSpec, wished: Sequence[str] | None) -> RobotSpec:
    """
    Return the robot with those of its cameras that are ``wished`` for, ``None``: with all.

    :raises ConversionRefused: it has no such camera.
    """
    if wished is None:
        wished = [camera.name for camera in robot.cameras]
    try:
        cameras = tuple(robot.camera(name) for name in dict.fromkeys(wished))
    except KeyError as error:
        raise ConversionRefused(str(error.args[0])) from error
    for camera in cameras:
        if camera.name in (STATE, ACTION):
            raise ConversionRefused(f'camera {camera.name} of {robot.name} is called like a '
                                    'column of the dataset: call it otherwise in the contract')
    return replace(robot, cameras=cameras)


def _patient(robot: RobotSpec, gap_s: float) -> RobotSpec:
    """Return the robot whose samples may be as old as ``gap_s`` when a row uses them."""
    def patient(stream: StreamSpec) -> StreamSpec:
        return replace(stream, tolerance_s=gap_s) if gap_s else stream
    return replace(robot, state=patient(robot.state), cameras=tuple(
        replace(camera, stream=patient(camera.stream)) for camera in robot.cameras))


def _refuse_by_name(bag: Path, rules: ConversionRules) -> None:
    place = bag.resolve()
    if TRASH in place.parts:
        raise ConversionRefused(f'was discarded: move it out of {TRASH} to convert it')
    if place.name.endswith(UNFINISHED) and not rules.allow_damaged:
        raise ConversionRefused(f'is unfinished: rescue it with `chunked-vla bag recover {bag}`, '
                                'or take what is there with --allow-damaged')


def _refuse_damaged(reader: BagReader, rules: ConversionRules) -> None:
    if reader.damaged and not rules.allow_damaged:
        more = f' and {len(reader.damaged) - 1} more' if len(reader.damaged) > 1 else ''
        raise ConversionRefused(
            f'{reader.damaged[0]}{more}: rescue it with `chunked-vla bag recover {reader.path}`, '
            'or take what is there with --allow-damaged')
    if reader.facts.get('verdict') == Verdict.BROKEN.value and not rules.include_broken:
        raise ConversionRefused(
            f'its recorder judged it to be broken ({reader.facts.get("reasons", "[]")[:200]}): '
            'convert it all the same with --include-broken')


def _labelled(bag: Path, reader: BagReader) -> Outcome | None:
    """Return what people or the recorder said of the outcome, ``None`` if only events may tell."""
    labels = read_labels(bag if bag.is_dir() else bag.parent)
    if labels:
        return labels[-1].outcome
    try:
        return Outcome(reader.facts['outcome'])
    except (KeyError, ValueError):
        return None
