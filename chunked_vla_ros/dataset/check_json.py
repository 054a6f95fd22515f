"""A report on a dataset as JSON: every finding with its value, threshold and remedy."""

from __future__ import annotations

from collections.abc import Sequence
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.dataset_checks import DatasetReport, EpisodeReport
from chunked_vla_ros.core.dataset_findings import Finding
from chunked_vla_ros.data.datasets import Dataset


def report_as_json(path: Path, dataset: Dataset, report: DatasetReport) -> dict[str, Any]:
    """Return what was found, in numbers and words that JSON has."""
    return {
        'path': str(path), 'layout': dataset.layout, 'robot_type': dataset.robot_type,
        'verdict': report.grade.word, 'fps': dataset.fps if dataset.timed else None,
        'verdicts': {grade.word: count for grade, count in report.counts.items()},
        'outcomes': {outcome.value: count for outcome, count in report.outcomes.items()},
        'action': report.norms.kind.value, 'findings': _findings(report.findings),
        'episodes': [_episode(episode) for episode in report.episodes]}


def _episode(episode: EpisodeReport) -> dict[str, Any]:
    measures = episode.measures
    return {
        'episode': measures.index, 'verdict': episode.grade.word, 'rows': measures.rows,
        'duration_s': measures.times.duration_s, 'task': measures.task,
        'outcome': measures.outcome.value,
        'largest_gap_s': measures.times.largest_gap_s,
        'ages_s': {stream: {'median': ages.median_s, 'p99': ages.p99_s, 'max': ages.largest_s}
                   for stream, ages in measures.ages.items()},
        'findings': _findings(episode.findings)}


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{'check': each.check, 'verdict': each.grade.word, 'text': each.text,
             'value': _number(each.value), 'threshold': _number(each.threshold),
             'unit': each.unit, 'remedy': each.remedy} for each in findings]


def _number(value: float) -> float | None:
    """Return a number as JSON has it: it knows no infinity."""
    return float(value) if math.isfinite(value) else None
