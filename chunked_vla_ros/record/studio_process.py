"""
A process that records one episode after the other: asked and answering in lines of JSON.

The first line is a `StudioSetup`, each further one a `StudioJob`; it answers each with ``line``,
what became of it, or with ``error`` where nothing can be recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
import sys
from typing import Any, TextIO

from chunked_vla_ros.record.studio import Studio, StudioJob, StudioSetup
from chunked_vla_ros.record.table import episode_line


def main() -> None:
    """Serve until standard input ends."""
    # What libraries print goes to the log; answers have standard output for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', encoding='utf-8')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Record what ``requests`` name until they end, or until one cannot be recorded."""
    try:
        studio = Studio(setup_from_json(json.loads(requests.readline())))
        try:
            for line in requests:
                job = StudioJob(**json.loads(line))
                _say(answers, {'line': episode_line(job.seed, *studio.record(job))})
        finally:
            studio.close()
    except (ValueError, OSError) as error:    # robot, camera, disk
        _say(answers, {'error': ' '.join(str(error).split())})


def setup_from_json(content: Mapping[str, Any]) -> StudioSetup:
    """Return the setup that went through JSON."""
    return StudioSetup(**{**content, 'compression': tuple(content['compression'])})


def _say(answers: TextIO, content: Mapping[str, Any]) -> None:
    answers.write(json.dumps(content) + '\n')
    answers.flush()


if __name__ == '__main__':
    main()
