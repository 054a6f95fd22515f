"""
A process that converts one bag after another: asked and answering in lines of JSON.

Asked: ``{bag, folder, bag_id}``. It answers ``found`` with what its episodes are like, waits for
``go`` or ``refuse``, tells ``frames`` as they are done, and ends with ``done``, ``refused`` or, if
nothing can be written any more, ``stuck``. Knows nothing of other bags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import errno
import json
import os
from pathlib import Path
import shutil
import sys
import traceback
from typing import Any, TextIO

from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.core.dataset_episode import DatasetEpisode
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.episode_stage import dataset_features, stage_episode, UNFINISHED
from chunked_vla_ros.data.json_lines import answer_stream, say
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.video_writer import VideoEncoding

# More bags would fare no better.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

Read = Callable[[Path], list[DatasetEpisode]]


class Refused(Exception):
    """The other end does not want the bag."""


def main() -> None:
    """Serve until standard input ends; the first line says how to convert."""
    answers = answer_stream()
    os.environ.setdefault('SVT_LOG', '1')    # errors
    setup = json.loads(sys.stdin.readline())
    robot, rules = load_robot(setup['robot']), rules_from(setup['rules'])
    encoding = None if setup['encoding'] is None else VideoEncoding(**setup['encoding'])
    serve(sys.stdin, answers, lambda bag: bag_episodes(bag, robot, rules), encoding)


def rules_from(content: Mapping[str, Any]) -> ConversionRules:
    """Return the rules that went through JSON, which knows no tuples."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()}
    return ConversionRules(**values)


def serve(requests: TextIO, answers: TextIO, read: Read, encoding: VideoEncoding | None) -> None:
    """Convert what ``requests`` name until they end."""
    def answer(kind: str, **content: Any) -> None:
        say(answers, {'kind': kind, **content})

    for line in _lines(requests):
        try:
            _convert(line, read, encoding, answer, requests)
        except Refused as error:
            answer('refused', why=str(error))
        except OSError as error:
            why = f'{error.filename or line["folder"]}: {error.strerror or error}'
            answer('stuck' if error.errno in NO_ROOM else 'refused', why=why)
        except ValueError as error:    # ConversionRefused, DatasetError, InputRejected, ...
            answer('refused', why=' '.join(str(error).split()))
        except MemoryError:
            answer('refused', why=f'{line["bag"]}: needs more memory than there is')
        except Exception as error:  # noqa: BLE001 - one bag must not take the others with it
            traceback.print_exc()
            answer('refused', why=f'{line["bag"]}: {type(error).__name__} in the converter: '
                                  f'{" ".join(str(error).split())[:300]}')


def _convert(job: Mapping[str, Any], read: Read, encoding: VideoEncoding | None,
             answer: Callable[..., None], requests: TextIO) -> None:
    episodes = read(Path(job['bag']))
    frames = sum(len(each.times_ns) * max(1, len(each.frame_shapes)) for each in episodes)
    kinds = [{'features': dataset_features(each, encoding), 'fps': each.fps}
             for each in episodes]
    unequal = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), None)
    if unequal is not None:
        raise Refused(f'{job["bag"]}: its parts 0 and {unequal} have different columns')
    answer('found', frames=frames, kind_of=kinds[0] if kinds else None)
    reply = json.loads(requests.readline() or '{}')
    if 'go' not in reply:
        raise Refused(reply.get('refuse', 'not wanted'))
    folder, rows = Path(job['folder']), 0
    for index, episode in enumerate(episodes):
        place = folder / str(index)
        count = len(episode.times_ns)
        if place.is_dir():    # done before a kill
            answer('frames', done=count * max(1, len(episode.frame_shapes)))
        else:
            stage_episode(place, episode, encoding, lambda done: answer('frames', done=done),
                          job['bag_id'])
            if not episode.frame_shapes:
                answer('frames', done=count)
        rows += count
    for stale in folder.glob(f'[0-9]*{UNFINISHED}'):
        shutil.rmtree(stale)
    answer('done', episodes=len(episodes), rows=rows)


def _lines(requests: TextIO) -> Iterator[dict[str, Any]]:
    while line := requests.readline():
        yield json.loads(line)


if __name__ == '__main__':
    main()
