"""
Judge a dataset from its episodes' measures: findings and one verdict for each, and for the whole.

Measures in, findings out; each finding has its value, threshold and remedy. Knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.dataset_findings import Finding, Grade, gravest
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures
from chunked_vla_ros.core.dataset_norms import DatasetHead, DatasetNorms, find_norms
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.core.label_checks import check_dataset_labels, check_labels
from chunked_vla_ros.core.motion_checks import check_motion, NOTHING
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.stream_checks import check_cameras, check_times

# What so many of the episodes have is a trait of the dataset: said once, as a note.
TRAIT_SHARE, TRAIT_FEWEST = 0.5, 4
# Findings that may be a trait. That all episodes are stuck makes none of them better.
TRAITS = frozenset({'jump', 'still_picture', 'action_unrelated'})
REPEATED_SHARE = 0.1


@dataclass(frozen=True)
class EpisodeReport:
    """One episode with what was found in it, gravest first."""

    measures: EpisodeMeasures
    findings: tuple[Finding, ...]

    @property
    def grade(self) -> Grade:
        """Return the episode's verdict."""
        return gravest(self.findings)


@dataclass(frozen=True)
class DatasetReport:
    """
    A dataset with what was found.

    :ivar findings: Of the dataset as a whole, gravest first.
    """

    norms: DatasetNorms
    episodes: tuple[EpisodeReport, ...]
    findings: tuple[Finding, ...]

    @property
    def grade(self) -> Grade:
        """Return the dataset's verdict: as bad as its worst part."""
        return max([gravest(self.findings), *(episode.grade for episode in self.episodes)])

    @property
    def counts(self) -> dict[Grade, int]:
        """Return how many episodes have each verdict."""
        found = Counter(episode.grade for episode in self.episodes)
        return {grade: found[grade] for grade in Grade}

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """Return how many readable episodes ended how."""
        found = Counter(episode.measures.outcome for episode in self.episodes
                        if not episode.measures.error)
        return {outcome: found[outcome] for outcome in Outcome}


def check_dataset(head: DatasetHead, episodes: Sequence[EpisodeMeasures], rules: DatasetRules,
                  robot: RobotSpec | None = None) -> DatasetReport:
    """Return what is found in ``episodes``; ``robot``, where it is known, gives limits."""
    norms = find_norms(head, episodes, robot)
    some_task = any(episode.task.strip() for episode in episodes)
    found = {episode.index: _findings(episode, norms, some_task, rules) for episode in episodes}
    whole = [*_traits(found, norms), *check_dataset_labels(episodes),
             *_of_the_whole(norms, episodes, robot)]
    return DatasetReport(
        norms,
        tuple(EpisodeReport(episode, _sorted(found[episode.index])) for episode in episodes),
        _sorted(whole))


def _findings(episode: EpisodeMeasures, norms: DatasetNorms, some_task: bool,
              rules: DatasetRules) -> list[Finding]:
    if episode.error:
        return [Finding('unreadable', Grade.BAD, episode.error, 1, 0, 'errors',
                        'fetch or convert it again, or delete the episode')]
    return [*check_labels(episode, norms, some_task, rules),
            *check_times(episode, norms, rules), *check_motion(episode, norms, rules),
            *check_cameras(episode, norms, rules)]


def _traits(found: dict[int, list[Finding]], norms: DatasetNorms) -> Iterator[Finding]:
    """Take out of ``found`` what most episodes have in common, and yield it as notes."""
    for check in sorted(TRAITS):
        having = [index for index, findings in found.items()
                  if any(finding.check == check for finding in findings)]
        if norms.readable < TRAIT_FEWEST or len(having) <= TRAIT_SHARE * norms.readable:
            continue
        example = next(finding for finding in found[having[0]] if finding.check == check)
        for index in having:
            found[index] = [each for each in found[index]
                            if each.check != check or each.grade is Grade.BAD]
        yield Finding(
            check, Grade.SUSPECT,
            f'{len(having)} of {norms.readable} episodes, such as {having[0]}: {example.text}',
            example.value, example.threshold, example.unit,
            example.remedy)


def _of_the_whole(norms: DatasetNorms, episodes: Sequence[EpisodeMeasures],
                  robot: RobotSpec | None) -> Iterator[Finding]:
    head = norms.head
    if not head.timed:
        yield Finding('untimed', Grade.GOOD, 'no times are recorded: rates, gaps and speeds are '
                      'not checked', 0, 1, '', 'record stamps')
    if head.action_names and len(head.action_names) != len(head.state_names):
        yield Finding(
            'widths', Grade.SUSPECT,
            f'{len(head.action_names)} columns of action, {len(head.state_names)} of state',
            len(head.action_names), len(head.state_names), 'columns',
            'look which joint has no command or no measurement')
    yield from _idle(norms)
    yield from _repeats(head, episodes)
    if robot is not None:
        missing = [name for name in head.state_names if name not in norms.limits]
        if missing:
            yield Finding(
                'unknown_joints', Grade.SUSPECT,
                f'{robot.name} has no {", ".join(missing[:5])}: their limits are not checked',
                len(missing), 0, 'joints', 'add the names to the contract as aliases')


def _idle(norms: DatasetNorms) -> Iterator[Finding]:
    for what, signal, names in (('state', norms.state, norms.head.state_names),
                                ('action', norms.action, norms.head.action_names)):
        if signal is None:
            continue
        idle = [names[column] for column in np.flatnonzero(signal.span <= NOTHING)]
        if 0 < len(idle) < len(names):
            yield Finding(
                'idle_joints', Grade.GOOD,
                f'{what}: {", ".join(idle[:8])} never change{"s" if len(idle) == 1 else ""}',
                len(idle), 0, 'joints', 'leave such joints out of what a policy predicts')


def _repeats(head: DatasetHead, episodes: Sequence[EpisodeMeasures]) -> Iterator[Finding]:
    for camera in head.cameras:
        shares = [episode.cameras[camera].same_share for episode in episodes
                  if camera in episode.cameras and not episode.cameras[camera].error]
        share = float(np.median(shares)) if shares else 0.0
        if share > REPEATED_SHARE:
            yield Finding(
                'repeated_frames', Grade.GOOD,
                f'{camera}: {share:.0%} of frames equal the one before: the camera is slower '
                'than the rows', share, REPEATED_SHARE, '', "convert at the camera's rate")


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: -finding.grade))
