"""
Read the evaluations of several arms over several seeds, and refuse what cannot be compared.

They lie in ``FOLDER/CELL/arms/ARM/SET/results.json``. Cells whose names differ only in the number
at their end, such as mixed-1 and mixed-2, are seeds of one condition. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
import json
from pathlib import Path
import re
from typing import Any

from chunked_vla_ros.data.contract_section import ContractError, Section, shown
from chunked_vla_ros.evaluate.comparison import paired
from chunked_vla_ros.evaluate.episode import EpisodeRecord, record_from_json
from chunked_vla_ros.evaluate.options import RESULTS
from chunked_vla_ros.evaluate.results import SCHEMA

LAYOUT = f'CELL/arms/ARM/SET/{RESULTS}'
NUMBERED = re.compile(r'(.*?)[-_]?(\d+)')
ANY_TEXT = re.compile(r'[^\n]*')
KEYS = ('schema', 'complete', 'robot', 'position_set', 'first_seed', 'timing', 'policies')
POLICY_KEYS = ('policy_id', 'how', 'episodes')
EPISODE_KEYS = ('seed', 'position_set', 'task', 'success', 'duration_s')
# Where the cube began that the instruction names; of older results it may be absent.
PLACE_KEYS = ('cube_x_m', 'cube_y_m')
LARGEST_SEED, LONGEST_EPISODE_S, FARTHEST_M = 2**63, 1e6, 1e3
# Of the starts of a result; by chance none is drawn twice.
LEAST_DISTINCT = 0.9
# What all arms of a cell share; of another cell the first seed may be another.
SHARED = ('robot', 'position_set', 'timing', 'how')


class ArmError(ValueError):
    """Evaluations cannot be compared; the message is one line that names the file."""


@dataclass(frozen=True)
class ArmResult:
    """
    One evaluation: of an arm, in a cell, on a set of positions.

    :ivar facts: How it was run: `SHARED`, ``first_seed`` and the number of episodes.
    """

    file: Path
    policy_id: str
    facts: Mapping[str, Any]
    episodes: tuple[EpisodeRecord, ...]

    @property
    def distinct_starts(self) -> int:
        """Return how many starts differ in task or place; each counts whose place is unknown."""
        return len({
            (one.task, one.cube_x_m, one.cube_y_m)
            if one.cube_x_m is not None and one.cube_y_m is not None else one.seed
            for one in self.episodes})


@dataclass(frozen=True)
class Group:
    """
    What is pooled: all cells of one condition on one set of positions, every arm in each of them.

    :ivar condition: What the cells' names have in common.
    :ivar results: By arm, then by cell; every arm has the same cells.
    """

    condition: str
    position_set: str
    results: Mapping[str, Mapping[str, ArmResult]]

    @property
    def title(self) -> str:
        """Return what was pooled, in words."""
        where = f'{self.position_set} positions'
        return f'{self.condition}, {where}' if self.condition else where

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the seeds."""
        return tuple(next(iter(self.results.values())))

    def episodes(self, arm: str) -> dict[str, tuple[EpisodeRecord, ...]]:
        """Return the episodes of ``arm`` by cell."""
        return {cell: one.episodes for cell, one in self.results[arm].items()}

    @property
    def repeated(self) -> list[str]:
        """Return a line for each arm of which one policy stands in several cells."""
        found = []
        for arm, by_cell in self.results.items():
            ids = [one.policy_id for one in by_cell.values()]
            if len(set(ids)) < len(ids):
                found.append(f'{self.title}: arm {arm} is the same policy in several of the cells '
                             f'{", ".join(by_cell)}: they are not as many seeds')
        return found

    @property
    def copied(self) -> list[str]:
        """Return a line if in a cell the same few starts come again and again, else nothing."""
        # All arms of a cell have the same starts.
        counts = {cell: (one.distinct_starts, len(one.episodes))
                  for cell, one in next(iter(self.results.values())).items()}
        few = [f'{distinct} of {every} in cell {cell}'
               for cell, (distinct, every) in counts.items() if distinct < LEAST_DISTINCT * every]
        if not few:
            return []
        return [(f'{self.title}: only so many starts differ: {", ".join(few)}; the others are '
                 'copies, so every interval is too narrow and every p too small: evaluate at '
                 'random or unseen positions')]


def read_groups(folders: Sequence[str | Path], cells: str = '*',
                arms: Sequence[str] = ()) -> list[Group]:
    """
    Return everything that lies in ``folders`` and can be pooled.

    :param cells: Pattern of the names of the cells to read, as a shell has it.
    :param arms: Which of them, in this order; none named: all, by name.
    :raises ArmError: one line: nothing found, something missing, damaged, incomplete, or run
        from other starts than what it would be compared with.
    """
    found = _found(folders, cells, arms)
    groups = []
    for condition, position_set in dict.fromkeys(
            (_condition(cell), position_set) for cell, _, position_set in found):
        here = {(cell, arm): file for (cell, arm, each), file in found.items()
                if (_condition(cell), each) == (condition, position_set)}
        names = list(dict.fromkeys(cell for cell, _, _ in found if _condition(cell) == condition))
        order = [arm for arm in arms or sorted({arm for _, arm in here})
                 if any((cell, arm) in here for cell in names)]
        _refuse_missing(here, names, order, position_set)
        group = Group(condition, position_set, {
            arm: {cell: read_result(here[cell, arm]) for cell in names} for arm in order})
        _refuse_other_starts(group)
        groups.append(group)
    return groups


def _found(folders: Sequence[str | Path], cells: str,
           arms: Sequence[str]) -> dict[tuple[str, str, str], Path]:
    """Return the files by cell, arm and set."""
    files: dict[tuple[str, str, str], Path] = {}
    homes: dict[str, Path] = {}
    there: set[str] = set()
    for folder in dict.fromkeys(map(Path, folders)):
        if not folder.is_dir():
            raise ArmError(f'{folder}: no such folder, expected one with {LAYOUT}')
        for file in sorted(folder.glob(f'*/arms/*/*/{RESULTS}'), key=_natural):
            cell, _, arm, position_set = file.relative_to(folder).parts[:4]
            if not fnmatchcase(cell, cells):
                continue
            there.add(arm)
            if homes.setdefault(cell, folder) != folder:
                raise ArmError(f'cell {cell} is in {homes[cell]} and in {folder}: a cell is one '
                               'seed, rename one of them')
            if not arms or arm in arms:
                files[cell, arm, position_set] = file
    unknown = [arm for arm in arms if arm not in there]
    if there and unknown:
        raise ArmError(f'there is no arm {unknown[0]}, found {", ".join(sorted(there))}')
    if not files:
        chosen = '' if cells == '*' else f' in cells {cells}'
        raise ArmError(f'{", ".join(map(str, folders))}: no results found{chosen}, expected '
                       f'{LAYOUT}, as chunked-vla evaluate writes it')
    return files


def _natural(file: Path) -> list[tuple[str, int]]:
    """Return a key by which cell 10 comes after cell 9."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r'(\D*)(\d*)', str(file))]


def _condition(cell: str) -> str:
    numbered = NUMBERED.fullmatch(cell)
    return numbered[1] if numbered else cell


def _refuse_missing(files: Mapping[tuple[str, str], Path], cells: Sequence[str],
                    arms: Sequence[str], position_set: str) -> None:
    for arm in arms:
        for cell in cells:
            if (cell, arm) not in files:
                raise ArmError(
                    f'cell {cell} has no arm {arm} at {position_set} positions, other cells have '
                    'it: evaluate it there, or leave the cell out with --cells or the arm with '
                    '--arms')


def _refuse_other_starts(group: Group) -> None:
    """Refuse arms that did not meet the same starts, and cells that were run otherwise."""
    reference = next(iter(group.results.values()))
    anywhere = next(iter(reference.values()))
    for by_cell in group.results.values():
        for cell, one in by_cell.items():
            _refuse_difference(one, reference[cell], one.facts)
            _refuse_difference(one, anywhere, SHARED)
            try:
                paired((str(one.file), one.episodes),
                       (str(reference[cell].file), reference[cell].episodes))
            except ValueError as error:
                raise ArmError(f'{error}: evaluate one of them again') from error


def _refuse_difference(one: ArmResult, other: ArmResult, names: Iterable[str]) -> None:
    for name in names:
        if one.facts[name] != other.facts[name]:
            raise ArmError(
                f'{one.file}: {name.replace("_", " ")} is {shown(one.facts[name])}, in '
                f'{other.file} {shown(other.facts[name])}: only what was run alike is compared, '
                'evaluate one of them again')


def read_result(file: Path) -> ArmResult:
    """
    Return the evaluation of one policy that ``chunked-vla evaluate`` wrote to ``file``.

    :raises ArmError: one line: it cannot be read, is damaged, incomplete or of several policies.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, 'strerror', None) or 'no JSON'
        raise ArmError(f'{file}: cannot be read ({reason}): evaluate it again') from error
    try:
        return _checked(file, content)
    except ContractError as error:
        raise ArmError(f'{error}: evaluate it again') from error


def _checked(file: Path, content: Any) -> ArmResult:
    said = _section(file, '', content, KEYS)
    if said.raw('schema') != SCHEMA:
        raise said.refuse('schema', str(SCHEMA))
    if said.raw('complete') is not True:
        raise said.refuse('complete', 'true: it was interrupted')
    policies = said.items('policies', 'one policy')
    if len(policies) != 1:
        raise ArmError(f'{file}: {len(policies)} policies, expected one: an arm is a single '
                       'bundle, evaluated in one way')
    policy = _section(file, 'policies[0]', policies[0], POLICY_KEYS)
    episodes = tuple(_episode(file, number, one)
                     for number, one in enumerate(policy.items('episodes', 'episodes')))
    if not episodes:
        raise policy.refuse('episodes', 'at least one')
    if len({(one.seed, one.position_set, one.task) for one in episodes}) < len(episodes):
        raise ArmError(f'{file}: a start stands there twice: evaluate it again')
    return ArmResult(file, policy.text('policy_id', ANY_TEXT, 'a text'), {
        'robot': said.text('robot', ANY_TEXT, 'a name'),
        'position_set': said.text('position_set', ANY_TEXT, 'a name'),
        'first_seed': said.count('first_seed', 0, LARGEST_SEED, ''),
        'timing': said.raw('timing'), 'how': policy.text('how', ANY_TEXT, 'a text'),
        'episodes': len(episodes)}, episodes)


def _episode(file: Path, number: int, content: Any) -> EpisodeRecord:
    where = f'policies[0].episodes[{number}]'
    said = _section(file, where, content, EPISODE_KEYS, PLACE_KEYS)
    said.count('seed', 0, LARGEST_SEED, '')
    for name in ('position_set', 'task'):
        said.text(name, ANY_TEXT, 'a text')
    if not isinstance(said.raw('success'), bool):
        raise said.refuse('success', 'true or false')
    if said.number('duration_s', 0.0, LONGEST_EPISODE_S, 's') == 0.0 and said.raw('success'):
        raise said.refuse('duration_s', 'more than 0 s of a success')
    for name in PLACE_KEYS:
        if said.raw(name) is not None:
            said.number(name, -FARTHEST_M, FARTHEST_M, 'm')
    try:
        return record_from_json(content)
    except (TypeError, KeyError, ValueError) as error:
        raise ArmError(f'{file}: {where} is no episode ({shown(str(error))}): evaluate it '
                       'again') from error


def _section(file: Path, path: str, content: Any, keys: Sequence[str],
             optional: Sequence[str] = ()) -> Section:
    """Return ``content`` with only the keys that are read; the others are not looked at."""
    wanted = ({key: content[key] for key in (*keys, *optional) if key in content}
              if isinstance(content, dict) else content)
    return Section(str(file), path, wanted, keys, optional)
