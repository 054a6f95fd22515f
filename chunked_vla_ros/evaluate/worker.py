"""
A process that runs one episode after the other: asked and answering in lines of JSON.

The first line says what its station is made from, each further one is an `EpisodeJob`; it answers
each with an `EpisodeRecord`, or with ``error`` where none can be run.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import sys
from typing import Any, TextIO

from chunked_vla_ros.evaluate.episode import job_from_json
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup
from chunked_vla_ros.evaluate.station import Station


def main() -> None:
    """Serve until standard input ends."""
    # What libraries print goes to the log; answers have standard output for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', encoding='utf-8')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Run what ``requests`` name until they end, or until one cannot be run."""
    try:
        station = Station(setup_from_json(json.loads(requests.readline())))
        try:
            for line in requests:
                record = station.run(job_from_json(json.loads(line)))
                _say(answers, record.to_json(film=True))
        finally:
            station.close()
    except ValueError as error:    # policy, camera or task
        _say(answers, {'error': ' '.join(str(error).split())})


def setup_from_json(content: Mapping[str, Any]) -> StationSetup:
    """Return the setup that went through JSON."""
    return StationSetup(
        content['robot'], tuple(content['policies']), RunTiming(**content['timing']),
        content['execution_provider'])


def _say(answers: TextIO, content: Mapping[str, Any]) -> None:
    answers.write(json.dumps(content) + '\n')
    answers.flush()


if __name__ == '__main__':
    main()
