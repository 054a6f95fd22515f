"""
``chunked-vla up``: a graph in the foreground, until Ctrl-C or until it ends by itself.

Prints every process's log with its name before each line. Exit code 0 after a clean stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import os
import signal
import sys
import termios
import threading

from chunked_vla_ros.graph.child import in_foreground
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.signals import note_signals
from chunked_vla_ros.graph.supervisor import Supervisor

POLL_PERIOD_S = 0.1
COLOURS = ('\x1b[36m', '\x1b[33m', '\x1b[35m', '\x1b[32m', '\x1b[34m')
RESET = '\x1b[0m'


def run_graph(specs: Sequence[NodeSpec]) -> int:
    """Run ``specs`` until a signal or their own end; return the process's exit code."""
    signals = note_signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    graph = Supervisor(specs, env=_colour_environment(), on_line=line_printer(specs))
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    print(f'starting {", ".join(spec.name for spec in specs)} in ROS domain {domain}; '
          'Ctrl-C stops them', flush=True)
    with kept_terminal(), graph:
        while not graph.wait(POLL_PERIOD_S) and not signals:
            pass
    if graph.failure:
        print(f'error: {graph.failure}', file=sys.stderr)
    return graph.exit_code


@contextmanager
def kept_terminal() -> Iterator[None]:
    """Give the terminal its settings back at the end, also where a node that changed them died."""
    settings = termios.tcgetattr(0) if in_foreground() else None
    try:
        yield
    finally:
        if settings is not None:
            try:
                termios.tcsetattr(0, termios.TCSADRAIN, settings)
            except termios.error:    # the terminal window was closed
                pass


def line_printer(specs: Sequence[NodeSpec]) -> Callable[[str, str], None]:
    """Return a function that prints a line of a node's log after its name."""
    width = max(len(spec.name) for spec in specs)
    coloured = sys.stdout.isatty()
    colours = {spec.name: COLOURS[index % len(COLOURS)] for index, spec in enumerate(specs)}
    lock = threading.Lock()

    def show(name: str, line: str) -> None:
        prefix = f'{name:>{width}} |'
        if coloured:
            prefix = f'{colours[name]}{prefix}{RESET}'
        with lock:
            print(prefix, line, flush=True)

    return show


def _colour_environment() -> dict[str, str]:
    """Return what makes nodes colour their levels: they write to a pipe, not to the terminal."""
    return {'RCUTILS_COLORIZED_OUTPUT': '1'} if sys.stdout.isatty() else {}
