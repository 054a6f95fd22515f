"""
Run one node as a process: signals end it in order, errors of the user take one line.

rclpy's own signal handlers invalidate the publishers before the arm has stopped, so they are
switched off: the first SIGINT or SIGTERM ends the spin, ``close`` lets the node finish its motion,
later signals are ignored. Nobody who stops reading the log stops the node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import signal
import sys
from typing import Protocol

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from chunked_vla_ros.graph.signals import note_signals
from chunked_vla_ros.nodes.log_pipe import unblockable_log
from chunked_vla_ros.nodes.parameters import ParameterError

SPIN_PERIOD_S = 0.1


class ClosableNode(Protocol):
    """A node with something to finish before its publishers go."""

    def close(self) -> None:
        """Stop motion and threads; called with the context still valid."""


def run(make_node: Callable[[], Node], argv: Sequence[str] | None = None) -> int:
    """Construct the node, spin it until a signal, close it; return the process's exit code."""
    with unblockable_log():
        return _run(make_node, argv)


def _run(make_node: Callable[[], Node], argv: Sequence[str] | None) -> int:
    signals = note_signals(signal.SIGINT, signal.SIGTERM)
    try:
        rclpy.init(args=list(argv) if argv else None,
                   signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    # RuntimeError and ParameterException: what rclpy makes of wrong arguments and files.
    except (ParameterError, OSError, ValueError, RuntimeError, ParameterException) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not signals:
            executor.spin_once(timeout_sec=SPIN_PERIOD_S)
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    return 0
