"""
``chunked-vla bag verify``: is a bag whole? One line for each thing that is not.

Puts together what the file checks, the losses and metadata.yaml say. Changes nothing.
"""

from __future__ import annotations

from functools import partial
import json

from rich.console import Console
from rich.text import Text

from chunked_vla_ros.bag.options import BagVerifyOptions
from chunked_vla_ros.bag.reading import answer, labels_of, read_bag
from chunked_vla_ros.bag.text import at_least, in_bytes, printable
from chunked_vla_ros.data.bag_checks import FileCheck
from chunked_vla_ros.data.bag_directory import BagPlace
from chunked_vla_ros.data.bag_metadata import METADATA_FILE
from chunked_vla_ros.data.bag_metadata_check import compare_facts, compare_metadata
from chunked_vla_ros.data.bag_scan import BagScan, FileScan, Watcher
from chunked_vla_ros.data.sqlite_scan import integrity_of

NOT_WHOLE = 1

__all__ = ['BagVerifyOptions', 'find_faults', 'run_bag_verify']


def run_bag_verify(options: BagVerifyOptions) -> int:
    """Print what is not whole; return 0, 1 where something is not, or 2 where there is no bag."""
    return answer(options.path, partial(_verify, as_json=options.json))


def find_faults(place: BagPlace) -> tuple[BagScan, list[str], list[str]]:
    """Return what was read, the findings, and what could not be checked, one line each."""
    checks: list[FileCheck] = []

    def check(scan: FileScan) -> Watcher:
        checks.append(FileCheck(scan))
        return checks[-1].see

    bag = read_bag(place, check)
    findings = []
    if place.is_partial:
        findings.append(f'{place.path}: the recording was not finished, or is going on: recover '
                        f'makes a bag of it')
    findings += [*place.flaws, *labels_of(place)[1]]
    for scan, each in zip(bag.files, checks, strict=True):
        findings += [f'{scan.path}: {line}' for line in each.findings()]
    if place.storage == 'sqlite3':
        findings += [f'{path}: {line}' for path in place.files for line in integrity_of(path)]
    findings += _losses(bag)
    if place.information is not None:
        # Counts of a damaged bag differ, of course.
        damaged = any(scan.damage_count for scan in bag.files)
        compare = compare_facts if damaged else compare_metadata
        findings += [f'{place.path}: {line}' for line in compare(place.information, bag)]
    return bag, findings, _unchecked(place, bag)


def _losses(bag: BagScan) -> list[str]:
    found = []
    for topic in bag.topics.values():
        report = topic.report(bag.end_ns)
        lost = report.lost if topic.numbered else 0
        if lost:
            found.append(f'{topic.topic}: {at_least(lost, report.publishers)}{lost} of '
                         f'{topic.messages + lost} messages are missing, their numbers say')
    return found


def _unchecked(place: BagPlace, bag: BagScan) -> list[str]:
    found = []
    chunks = sum(scan.chunks for scan in bag.files)
    without = sum(scan.chunks_without_crc for scan in bag.files)
    if without:
        found.append(f'{without} of {chunks} chunks carry no CRC: a flipped bit would not show')
    if any(scan.data_end is not None and not scan.data_end.stored_crc for scan in bag.files) \
            and not without and not chunks:
        found.append('the messages carry no CRC: a flipped bit would not show')
    silent = sum(not topic.numbered for topic in bag.topics.values() if topic.messages)
    if silent:
        found.append(f'{silent} topics carry no sequence numbers: losses would not show')
    if not place.is_directory:
        found.append(f'{METADATA_FILE} is not compared: name the directory to do so')
    return found


def _verify(place: BagPlace, as_json: bool) -> int:
    bag, findings, unchecked = find_faults(place)
    code = NOT_WHOLE if findings else 0
    if as_json:
        print(json.dumps({'path': str(place.path), 'whole': not findings, 'findings': findings,
                          'unchecked': unchecked, 'messages': bag.messages}, indent=2))
        return code
    console = Console(soft_wrap=True, highlight=False)
    for line in findings:
        console.print(Text(printable(line, 2000), 'red'))
    for line in unchecked:
        console.print(Text(f'note: {printable(line)}', 'dim'))
    size = in_bytes(sum(path.stat().st_size for path in place.files))
    checked = f'{bag.messages} messages on {len(bag.topics)} topics, {size}'
    console.print(Text(f'not whole: {len(findings)} finding{"s" if len(findings) > 1 else ""} in '
                       f'{checked}' if findings else f'whole: {checked}', 'bold'))
    return code
