"""
A process that runs one episode after the other: asked and answering in lines of JSON.

The first line says what its station is made from, each further one is an `EpisodeJob`; it answers
each with an `EpisodeRecord`, or with ``error`` where none can be run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
import sys
from typing import Any, TextIO

from chunked_vla_ros.data.json_lines import Answer, answer_stream, serve_lines
from chunked_vla_ros.evaluate.episode import job_from_json
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup
from chunked_vla_ros.evaluate.station import Station


def main() -> None:
    """Serve until standard input ends."""
    serve(sys.stdin, answer_stream())


def serve(requests: TextIO, answers: TextIO) -> None:
    """Run what ``requests`` name until they end, or until one cannot be run."""
    serve_lines(requests, answers, _station, (ValueError,))    # policy, camera or task


@contextmanager
def _station(setup: Mapping[str, Any]) -> Iterator[Answer]:
    with closing(Station(setup_from_json(setup))) as station:
        yield lambda job: station.run(job_from_json(job)).to_json(film=True)


def setup_from_json(content: Mapping[str, Any]) -> StationSetup:
    """Return the setup that went through JSON."""
    return StationSetup(
        content['robot'], tuple(content['policies']), RunTiming(**content['timing']),
        content['execution_provider'])


if __name__ == '__main__':
    main()
