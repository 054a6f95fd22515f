"""
What is done of a conversion: ``OUT.partial``, out of which it goes on after any kill.

    OUT.partial/lock             held while a conversion runs
    OUT.partial/settings.json    those under which everything in it was made
    OUT.partial/name.txt         by what its dataset is known as its own
    OUT.partial/log.txt          what encoders and a worker that died said
    OUT.partial/bags/<bag>/      one folder per bag: an episode is there whole or not at all,
                                 result.json once there are no more
    OUT.partial/dataset/         what is being put together

Knows no bag's content and no dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import errno
import fcntl
import json
import os
from pathlib import Path
import shutil
from typing import Any

from chunked_vla_ros.convert.bags import Bag
from chunked_vla_ros.data.durable_file import replace_file

PARTIAL = '.partial'
SETTINGS, LOG, RESULT, LOCK = 'settings.json', 'log.txt', 'result.json', 'lock'
NAME = 'name.txt'


class ConversionError(ValueError):
    """A conversion cannot be made; the message is one line with the remedy."""


@dataclass(frozen=True)
class BagResult:
    """
    What became of one bag.

    :ivar state: Of the bag when it was converted, see `Bag`.
    :ivar episodes: How many it has, in folders 0, 1, ...
    :ivar rows: Of all of them.
    :ivar refused: Why it was not converted, one line; '' where it was.
    :ivar present: The dataset that is appended to has it already.
    """

    state: str
    episodes: int = 0
    rows: int = 0
    refused: str = ''
    present: bool = False


def partial_folder(out: Path) -> Path:
    """Return where a conversion to ``out`` keeps what is done."""
    return out.with_name(out.name + PARTIAL)


class Journal:
    """
    The folder beside ``out`` in which a conversion keeps what is done.

    :raises ConversionError: another conversion is at work in it, or it was begun under other
        ``settings``; the line names the first difference.
    :raises OSError: it cannot be written.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.folder = partial_folder(out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take_lock()
            self._compare(json.loads(json.dumps(settings)))
        except BaseException:
            self.close()
            raise

    @property
    def dataset(self) -> Path:
        """Return where the dataset is put together."""
        return self.folder / 'dataset'

    @property
    def log(self) -> Path:
        """Return the file for what workers say beside the point."""
        return self.folder / LOG

    def named(self, fresh: str) -> str:
        """Return the name that the conversion had when it was begun, ``fresh`` if it begins."""
        file = self.folder / NAME
        if not file.is_file():
            replace_file(file, fresh)
        return file.read_text(encoding='utf-8')

    def place(self, bag: Bag) -> Path:
        """Return the folder of a bag's episodes."""
        return self.folder / 'bags' / bag.state[:32]

    def result(self, bag: Bag) -> BagResult | None:
        """Return what became of a bag as it is now, ``None`` where that is not known yet."""
        file = self.place(bag) / RESULT
        try:
            found = BagResult(**json.loads(file.read_text(encoding='utf-8')))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            found = BagResult('')
        if found.state == bag.state:
            return found
        # Not to be understood: none of it counts.
        shutil.rmtree(self.place(bag))
        return None

    def keep(self, bag: Bag, result: BagResult) -> None:
        """Note what became of a bag."""
        place = self.place(bag)
        place.mkdir(parents=True, exist_ok=True)
        replace_file(place / RESULT, json.dumps(vars(result)))

    def forget(self) -> None:
        """Remove everything, after which there is nothing to go on from."""
        # By the name a dataset is known as done: it goes after all that would be done again.
        for folder in (self.dataset, self.folder / 'bags'):
            shutil.rmtree(folder, ignore_errors=True)
        for name in (LOG, SETTINGS, NAME, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rmdir()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others go on from here."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ConversionError(
                    f'{self.folder}: another conversion is at work there, wait for it') from None
            raise

    def _compare(self, settings: dict[str, Any]) -> None:
        """Note the settings, or compare them with those under which the folder was begun."""
        file = self.folder / SETTINGS
        if not file.is_file():
            replace_file(file, json.dumps(settings, indent=1) + '\n')
            return
        try:
            former = json.loads(file.read_text(encoding='utf-8'))
        except ValueError:
            former = {}
        for name in sorted({*settings, *former}):
            if former.get(name) != settings.get(name):
                raise ConversionError(
                    f'{self.folder}: was begun with {name} {_shown(former.get(name))}, now it is '
                    f'{_shown(settings.get(name))}: use the same, or remove the folder')


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f'{text[:97]}...'
