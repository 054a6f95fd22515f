"""
What the nodes said of themselves during one replay: refused chunks, waits for the arm, cameras.

Reads the values of /diagnostics and policy_info, which are text; judges nothing. Pure: knows no
ROS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import re

import numpy as np

# (node, values), in the order in which they came.
Findings = Sequence[tuple[str, Mapping[str, str]]]

REFUSED = 'rejected: '
RATE = re.compile(r'([\d.]+) of ([\d.]+) Hz')
LOST = re.compile(r'(\d+) of (\d+) in all')


@dataclass(frozen=True)
class CameraReport:
    """
    One camera's images as the inference node received them during a replay.

    :ivar rate_hz: Median over the node's reports in which images came, [Hz]; 0 if none came.
    :ivar expected_hz: What the robot contract promises, [Hz].
    :ivar sent: Images that the publisher numbered, from the first to the last that arrived.
    :ivar lost: Of these, those that did not arrive.
    :ivar refused: Images that arrived and could not be decoded or used.
    """

    name: str
    rate_hz: float
    expected_hz: float
    sent: int
    lost: int
    refused: int


@dataclass(frozen=True)
class ReplayReport:
    """
    What was said during one replay.

    :ivar rejections: Chunks refused by the executor, per reason.
    :ivar resumed: How often the policy waited for an arm that had been held.
    :ivar late_s: How much later than recorded the replay was by that in the end, in [s].
    """

    rejections: Mapping[str, int] = field(default_factory=dict)
    resumed: int = 0
    late_s: float = 0.0
    cameras: tuple[CameraReport, ...] = ()


def replay_report(before: Findings, during: Findings, policy_info: Mapping[str, str],
                  cameras: Sequence[str] = ()) -> ReplayReport:
    """
    Return what the nodes said.

    :param before: Diagnostics until the replay began; counts in them are not the replay's.
    :param during: Diagnostics from then until after its end.
    :param policy_info: The values of the topic at its end.
    :param cameras: Cameras that were played.
    """
    return ReplayReport(
        rejections=_rejections(_last(before, 'chunk_executor'), _last(during, 'chunk_executor')),
        resumed=int(policy_info.get('replay_resumed', '0')),
        late_s=float(policy_info.get('replay_late_s', '0')),
        cameras=tuple(_camera(name, before, during) for name in cameras))


def _last(findings: Findings, node: str) -> Mapping[str, str]:
    return next((values for name, values in reversed(findings) if name == node), {})


def _rejections(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    grown = {
        name.removeprefix(REFUSED): int(count) - int(before.get(name, '0'))
        for name, count in after.items() if name.startswith(REFUSED)}
    return {reason: count for reason, count in grown.items() if count}


def _camera(name: str, before: Findings, during: Findings) -> CameraReport:
    stream = f'camera {name}'
    first, last = _last(before, 'inference'), _last(during, 'inference')
    rates = [found for node, values in during if node == 'inference'
             for found in RATE.findall(values.get(f'rate {stream}', ''))]
    coming = [float(rate) for rate, _ in rates if float(rate) > 0.0]
    (lost, sent), (lost_before, sent_before) = (
        _counts(values.get(f'lost {stream}', ''))
        for values in (last, first))
    refused, refused_before = (
        int(values.get(f'refused {stream}', '0')) for values in (last, first))
    return CameraReport(
        name, float(np.median(coming)) if coming else 0.0,
        float(rates[-1][1]) if rates else 0.0, sent - sent_before, lost - lost_before,
        refused - refused_before)


def _counts(text: str) -> tuple[int, int]:
    found = LOST.search(text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
