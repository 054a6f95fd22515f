"""
Hand bags out to workers, keep what they make, and see to it that all of it fits together.

The first bag that has episodes says which columns there are; the others wait for it before they
encode anything, so that the outcome does not depend on who is faster.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Any

from chunked_vla_ros.convert.crew import Crew, Worker
from chunked_vla_ros.convert.journal import BagResult, ConversionError, Journal
from chunked_vla_ros.convert.plan import Conversion, Standing, Stop, StoppedError, Tell
from chunked_vla_ros.data.episode_stage import staged_part
from chunked_vla_ros.data.lerobot_edit import feature_difference
from chunked_vla_ros.data.lerobot_parts import DatasetParts

POLL_S = 0.1
Kind = dict[str, Any]


def convert_bags(conversion: Conversion, journal: Journal, base: DatasetParts | None,
                 standing: Standing, tell: Tell, stop: Stop) -> None:
    """
    Convert every bag that is not done yet; ``standing`` has the results.

    :param base: The dataset that gets more episodes, if any.
    :raises ConversionError: one line: nothing can be written any more.
    :raises StoppedError: it was stopped.
    """
    bags = _Bags(conversion, journal, base, standing)
    encoding = conversion.encoding
    setup = {'robot': conversion.robot, 'rules': asdict(conversion.rules),
             'encoding': None if encoding is None else asdict(encoding)}
    with journal.log.open('a', encoding='utf-8') as log:
        crew = Crew(conversion.workers, setup, log)
        try:
            while bags.queue or crew.at_work():
                while bags.queue and (worker := crew.free()) is not None:
                    bags.give(worker)
                for worker, said in crew.hear(POLL_S):
                    bags.hear(worker, said)
                standing.share = bags.share()
                tell(standing)
                if stop():
                    raise StoppedError
        finally:
            crew.close()


class _Bags:
    """
    The bags of a conversion.

    :ivar queue: Numbers of those that nobody has begun.
    """

    def __init__(self, conversion: Conversion, journal: Journal, base: DatasetParts | None,
                 standing: Standing) -> None:
        self._bags, self._journal, self._standing = conversion.bags, journal, standing
        self._base: Kind | None = None
        self._base_name = ''
        known: set[Any] = set()
        if base is not None:
            self._base = {'features': base.features, 'fps': base.facts['fps']}
            self._base_name = str(base.root)
            known = base.entries('bag_id')
        # Columns by number of the bag, None for one without episodes; those who wait for a word.
        self._kinds: dict[int, Kind | None] = {}
        self._waiting: dict[int, Worker] = {}
        # Frames done and to do, of those at work.
        self._frames: dict[int, list[int]] = {}
        self.queue: deque[int] = deque()
        for number, bag in enumerate(self._bags):
            result = journal.result(bag) if bag.identity else None
            if bag.fault:
                self._settle(number, BagResult(bag.state, refused=bag.fault))
            elif bag.identity in known:
                self._settle(number, BagResult(bag.state, present=True))
            elif result is not None:
                self._settle(number, result)
                if result.episodes:
                    self._kinds[number] = staged_part(journal.place(bag) / '0')[1]
            else:
                self.queue.append(number)
            known.add(bag.identity)    # a copy of a bag is no second episode

    def give(self, worker: Worker) -> None:
        """Let a worker begin with the next bag."""
        number = self.queue.popleft()
        bag, worker.bag = self._bags[number], number
        place = self._journal.place(bag)
        place.mkdir(parents=True, exist_ok=True)
        worker.tell({'bag': str(bag.path), 'folder': str(place), 'bag_id': bag.identity})

    def hear(self, worker: Worker, said: dict[str, Any]) -> None:
        """
        Take in what a worker says.

        :raises ConversionError: it cannot write any more.
        """
        number, kind = worker.bag, said['kind']
        if number is None:    # one without a bag has ended
            return
        if kind == 'found':
            self._frames[number] = [0, said['frames']]
            self._kinds[number] = said['kind_of']
            self._waiting[number] = worker
            self._answer()
        elif kind == 'frames':
            self._frames[number][0] += said['done']
            self._standing.frames += said['done']
        elif kind == 'stuck':
            raise ConversionError(
                f'{said["why"]}; what is done is kept in {self._journal.folder}: make room and '
                'run the same again')
        else:
            worker.bag = None
            bag = self._bags[number]
            if kind == 'done':
                result = BagResult(bag.state, said['episodes'], said['rows'])
                self._journal.keep(bag, result)
            else:
                why = said['why'] if kind == 'refused' else (
                    f'{bag.path}: its worker ended by {said["how"]}, out of memory? See '
                    f'{self._journal.log}')
                result = BagResult(bag.state, refused=why)
            self._waiting.pop(number, None)
            self._settle(number, result)
            self._answer()

    def share(self) -> float:
        """Return how much of the work is done, 0 to 1: by the size of the bags."""
        total = sum(bag.bytes for bag in self._bags) or 1
        done = sum(float(self._bags[number].bytes) for number in self._standing.results)
        for number, (frames, wanted) in self._frames.items():
            if number not in self._standing.results and wanted:
                done += self._bags[number].bytes * frames / wanted
        return done / total

    def _settle(self, number: int, result: BagResult) -> None:
        self._standing.results[number] = result
        self._kinds.setdefault(number, None)
        self._frames.pop(number, None)

    def _answer(self) -> None:
        """Tell those who wait whether they may go on, where that is known by now."""
        for number, worker in sorted(self._waiting.items()):
            first = self._first_before(number)
            if first is None:
                continue
            difference = self._difference(number, first)
            worker.tell({'refuse': difference} if difference else {'go': True})
            del self._waiting[number]

    def _first_before(self, number: int) -> int | None:
        """Return the first bag with episodes up to ``number``, None if it is not known yet."""
        for earlier in range(number + 1):
            if earlier not in self._kinds:
                return None
            if self._kinds[earlier] is not None:
                return earlier
        return number

    def _difference(self, number: int, first: int) -> str:
        """Return what forbids a bag's episodes to be in one dataset with the others', or ''."""
        found = self._kinds[number]
        wanted = self._kinds[first] if self._base is None else self._base
        if found is None or wanted is None:
            return ''
        name = self._base_name or str(self._bags[first].path)
        if wanted['fps'] != found['fps']:
            return (f'{self._bags[number].path}: has {found["fps"]:g} rows per second, expected '
                    f'{wanted["fps"]:g} as {name} has: give --fps {wanted["fps"]:g}')
        difference = feature_difference(wanted['features'], found['features'])
        return difference and f'{self._bags[number].path}: {difference} as {name} has'
