"""
What a recovered bag says of itself: what the damaged one said, and that and how it was recovered.

Reads what others have read; opens no file.
"""

from __future__ import annotations

from dataclasses import asdict
import json

from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.core.stream_health import verdict as judge
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_directory import BagPlace, mapping
from chunked_vla_ros.data.bag_metadata import writable
from chunked_vla_ros.data.bag_metadata_check import EPISODE_KEY
from chunked_vla_ros.data.bag_scan import BagScan


def recovered_facts(place: BagPlace, bag: BagScan, lost_bytes: int) -> dict[str, str]:
    """Return the new bag's ``custom_data``; ``lost_bytes`` of the old one could not be used."""
    custom = {str(key): str(text) for key, text in mapping(
        (place.information or {}).get('custom_data')).items()}
    facts = custom | bag.facts
    lost = f'{lost_bytes} of {sum(scan.size for scan in bag.files)} bytes were lost'
    told = {'recovered_from': place.path.resolve().name, 'recovered_loss': lost}
    if EPISODE_KEY in facts:
        told |= _judgement(facts, bag, lost, lost_bytes)
    return {writable(key): writable(text) for key, text in (facts | told).items()}


def _judgement(facts: dict[str, str], bag: BagScan, lost: str, lost_bytes: int) -> dict[str, str]:
    """Return the words with which our own episodes end; what the recorder knew stays."""
    reports = [topic.report(bag.end_ns) for topic in bag.topics.values()]
    found, reasons = judge(reports, (bag.end_ns - bag.start_ns) / NS_PER_S)
    if found is Verdict.GOOD and lost_bytes:
        found = Verdict.USABLE
    order, said = [each.value for each in Verdict], facts.get('verdict', '')
    return {
        'outcome': facts.get('outcome', Outcome.UNLABELED.value),
        'verdict': max(found.value, said if said in order else found.value, key=order.index),
        'reasons': json.dumps([*_list(facts.get('reasons')), f'recovered: {lost}', *reasons],
                              ensure_ascii=False),
        'streams': facts.get('streams') or json.dumps([asdict(each) for each in reports])}


def _list(text: str | None) -> list[str]:
    """Return the reasons that a recorder wrote; none if they are not readable."""
    try:
        content = json.loads(text or '[]')
    except (ValueError, RecursionError):
        return []
    return [str(each) for each in content] if isinstance(content, list) else []
