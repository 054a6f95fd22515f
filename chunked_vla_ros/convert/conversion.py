"""
Convert bags to a dataset: hand them out, keep what is done, put it together at one stroke.

Out of ``OUT.partial`` it goes on after any kill. Knows no terminal: whoever calls it is told how
far it is, and may stop it.
"""

from __future__ import annotations

from dataclasses import asdict
import hashlib
import json
from pathlib import Path
from typing import Any

from chunked_vla_ros.convert.assembly import assemble, OURS
from chunked_vla_ros.convert.handing_out import convert_bags
from chunked_vla_ros.convert.journal import ConversionError, Journal, partial_folder
from chunked_vla_ros.convert.plan import Conversion, Standing, Stop, Tell
from chunked_vla_ros.data.lerobot_info import INFO_FILE
from chunked_vla_ros.data.lerobot_parts import DatasetParts
from chunked_vla_ros.data.robot_contract import contract_hash, load_robot


def convert(conversion: Conversion, tell: Tell, stop: Stop) -> Standing:
    """
    Convert the bags; return what became of each.

    :param tell: Is told now and then how far it is.
    :param stop: Whether to stop, asked ten times a second.
    :raises ConversionError: one line: what is asked for cannot be made.
    :raises ContractError: one line: the robot contract cannot be used.
    :raises DatasetError: one line: the dataset cannot be made, or that which is appended to read.
    :raises OSError: it cannot be written; what is done is kept.
    :raises StoppedError: it was stopped; what is done is kept.
    """
    out = conversion.out
    published = _conversion_of(out)
    begun = partial_folder(out).is_dir()
    if not conversion.append and _is_there(out) and not (published and begun):
        raise ConversionError(f'{out}: exists already, name a new folder or use --append')
    base = DatasetParts(out) if conversion.append else None
    settings = _settings(conversion)
    if base is not None and base.facts.get('robot_type') != settings['robot']:
        raise ConversionError(f'{out}: robot_type is {base.facts.get("robot_type")!r}, the '
                              f'contract is that of {settings["robot"]!r}: name a new folder')
    with Journal(out, settings) as journal:
        name = journal.named(_name(conversion, settings, published if base else ''))
        standing = Standing()
        if published == name:    # killed between the last step and the one after
            standing.results = {
                number: result for number, bag in enumerate(conversion.bags)
                if (result := journal.result(bag)) is not None}
            standing.published = True
        elif not conversion.append and _is_there(out):
            raise ConversionError(f'{out}: exists already, name a new folder or use --append')
        else:
            convert_bags(conversion, journal, base, standing, tell, stop)
            facts = {'contract': settings['contract'], 'robot': settings['robot'],
                     'rules': asdict(conversion.rules), 'software': conversion.software,
                     'conversion': name}
            if not standing.refused or conversion.skip_bad:
                assemble(conversion, journal, base, facts, standing, tell, stop)
        if standing.published or not any(
                result.episodes for result in standing.results.values()):
            journal.forget()
        return standing


def _settings(conversion: Conversion) -> dict[str, Any]:
    """Return what decides what is in the dataset."""
    video = None
    if conversion.encoding is not None:
        # How many threads depends on how many workers, and these may differ.
        video = {**asdict(conversion.encoding), 'threads': 0}
    return {
        'robot': load_robot(conversion.robot).name,
        'contract': contract_hash(conversion.robot), 'software': conversion.software,
        'append': conversion.append, **asdict(conversion.rules), 'video': video,
        'bags': [str(bag.path) for bag in conversion.bags]}


def _name(conversion: Conversion, settings: dict[str, Any], former: str) -> str:
    """Return by what a conversion is known again once its dataset is there."""
    text = json.dumps([settings, [bag.state for bag in conversion.bags], former], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _conversion_of(out: Path) -> str:
    """Return the name of the conversion by which the dataset at ``out`` came about, else ''."""
    try:
        content = json.loads((out / INFO_FILE).read_text(encoding='utf-8'))
        return str(content[OURS]['conversion'])
    except (OSError, ValueError, KeyError, TypeError):
        return ''


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
