"""
A process that records one episode after the other: asked and answering in lines of JSON.

The first line is a `StudioSetup`, each further one a `StudioJob`; it answers each with ``line``,
what became of it, or with ``error`` where nothing can be recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
import sys
from typing import Any, TextIO

from chunked_vla_ros.data.json_lines import Answer, answer_stream, serve_lines
from chunked_vla_ros.record.studio import Studio, StudioJob, StudioSetup
from chunked_vla_ros.record.table import episode_line


def main() -> None:
    """Serve until standard input ends."""
    serve(sys.stdin, answer_stream())


def serve(requests: TextIO, answers: TextIO) -> None:
    """Record what ``requests`` name until they end, or until one cannot be recorded."""
    # robot, camera, disk
    serve_lines(requests, answers, _recording, (ValueError, OSError))


@contextmanager
def _recording(setup: Mapping[str, Any]) -> Iterator[Answer]:
    with closing(Studio(setup_from_json(setup))) as studio:
        def record(content: Mapping[str, Any]) -> Mapping[str, Any]:
            job = StudioJob(**content)
            return {'line': episode_line(job.seed, *studio.record(job))}
        yield record


def setup_from_json(content: Mapping[str, Any]) -> StudioSetup:
    """Return the setup that went through JSON."""
    return StudioSetup(**{**content, 'compression': tuple(content['compression'])})


if __name__ == '__main__':
    main()
