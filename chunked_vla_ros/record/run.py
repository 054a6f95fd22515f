"""
``chunked-vla record``: start the graph, record, show what was recorded.

Exit code 0 only if everything that was to be recorded was, as good or usable; 130 after Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
import os
from pathlib import Path
import signal
import sys

from rich.console import Console

from chunked_vla_ros.core.episode_name import next_name
from chunked_vla_ros.data.episode_folder import EpisodeRecord, list_episodes
from chunked_vla_ros.data.robot_contract import ContractError, load_robot
from chunked_vla_ros.demo.free_domain import NoFreeDomain
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.graph.signals import note_signals
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.record.by_hand import record_by_hand
from chunked_vla_ros.record.expert import record_expert
from chunked_vla_ros.record.options import LARGEST_SEED, LOG, RecordEpisodesOptions
from chunked_vla_ros.record.table import all_sound, complaints, episode_table
from chunked_vla_ros.terminal_keys import NoTerminalError

__all__ = ['RecordEpisodesOptions', 'run_record']

INTERRUPTED = 130


def run_record(options: RecordEpisodesOptions) -> int:
    """Record what ``options`` say and return the process's exit code."""
    console = Console()
    out = Path(options.out).expanduser().absolute()
    try:
        robot = load_robot(options.robot)
        out.mkdir(parents=True, exist_ok=True)
        before = {one.episode_id for one in list_episodes(out).episodes}
        options = options if options.seed is not None else replace(
            options, seed=next_seed(before))
    except (ContractError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    code = 0
    try:
        with noticed_signals() as watch:
            if options.in_process:
                _simulated()(options, before, out, console, watch)
            elif options.expert:
                with reserved_domain(options.domain_id) as domain_id:
                    record_expert(options, robot, domain_id, out, console, watch)
            else:
                record_by_hand(
                    options, robot, shared_domain(options.domain_id), out, console, watch)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except NoTerminalError as error:
        print(f'error: a person records by keys, but {error}: start this in a terminal, or add '
              '--expert', file=sys.stderr)
        return 2
    except GraphFailure as error:
        print(f'error: {error}\nthe whole log is in {out / LOG}', file=sys.stderr)
        code = 1
    except (NoFreeDomain, OSError, ValueError) as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    recorded = [one for one in list_episodes(out).episodes if one.episode_id not in before]
    _show(recorded, console, out)
    if options.expert and not code and len(recorded) < options.episodes:
        code = 1
    return code or (0 if all_sound(recorded) else 1)


@contextmanager
def noticed_signals() -> Iterator[Callable[[], None]]:
    """
    Yield a function that raises KeyboardInterrupt once a signal has asked the process to end.

    Raised wherever the signal happens to come, it would leave rclpy's own work half done.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.getsignal(number)) for number in numbers]
    signals = note_signals(*numbers)

    def watch() -> None:
        if signals:
            raise KeyboardInterrupt
    try:
        yield watch
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _simulated() -> Callable[..., None]:
    """
    Return what records in process.

    :raises ValueError: there is no simulator.
    """
    try:
        from chunked_vla_ros.record.in_process import record_simulated
    except ImportError as error:
        raise ValueError(f"--in-process needs the simulator: {error}; install the extra 'sim'"
                         ) from error
    return record_simulated


def next_seed(taken: Collection[str]) -> int:
    """Return a seed that the episodes named ``taken`` were not started from, by default."""
    return int(next_name(taken).rpartition('_')[2]) % LARGEST_SEED


def _show(recorded: list[EpisodeRecord], console: Console, out: Path) -> None:
    if not recorded:
        console.print('no episode was recorded')
        return
    console.print(episode_table(recorded))
    for line in (*complaints(recorded),
                 f'episodes: {out}   each: chunked-vla bag info EPISODE'):
        # Whole, so that a path or a reason can be copied and searched for.
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def shared_domain(domain_id: int | None) -> int:
    """Return the domain in which a person's devices and robot are."""
    if domain_id is not None:
        return domain_id
    text = os.environ.get('ROS_DOMAIN_ID', '') or '0'
    if not text.isdecimal():
        raise OSError(f'ROS_DOMAIN_ID is {text!r}, expected a number')
    return int(text)
