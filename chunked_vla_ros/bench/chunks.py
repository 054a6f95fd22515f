"""
``chunked-vla bench chunks``: real recorded motion through the deploy graph, with delays.

Every recording is replayed by the policy `replay` on the simulated arm or the kinematic stand-in,
for every chunk rate and injected inference delay in a graph of its own. Exit code 0 only if every
replay ran to its end with every chunk taken, no limit exceeded and no jump; how well it was
tracked is reported, not judged.
"""

from __future__ import annotations

from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.bench.chunks_options import BenchChunksOptions, LOGS
from chunked_vla_ros.bench.chunks_summary import markdown, print_table, to_json
from chunked_vla_ros.bench.played_frames import NoFrames
from chunked_vla_ros.bench.replay_graph import Recording, replay_all
from chunked_vla_ros.bench.result_files import write_results
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.nodes.demo_client import GraphFailure

__all__ = ['BenchChunksOptions', 'run_bench_chunks']


def run_bench_chunks(options: BenchChunksOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console, out = Console(), Path(options.out)
    try:
        robot = load_robot(options.robot)
        recordings = _recordings(Path(options.demonstrations), options.episodes)
        if options.with_frames:
            _check_cameras(Path(options.demonstrations), robot)
        out.mkdir(parents=True, exist_ok=True)
        with reserved_domain(options.domain_id) as domain_id:
            runs, unfinished = replay_all(options, robot, recordings, domain_id, console)
    except (GraphFailure, NoFrames) as error:
        print(f'error: {error}\nthe whole log is the newest of {out / LOGS}', file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    written = write_results(
        out, options.json, to_json(runs, options.command, versions(), unfinished),
        markdown(runs, options.command, unfinished))
    print_table(runs, console)
    console.print(written)
    return 0 if not unfinished and all(run.kept_its_promises for run in runs) else 1


def _recordings(path: Path, episodes: tuple[int, ...]) -> list[Recording]:
    if episodes:
        return [Recording(path, episode, load_demonstration(path, episode))
                for episode in episodes]
    files = sorted(path.glob('*.npy')) if path.is_dir() else []
    return [Recording(file, None, load_demonstration(file)) for file in files or [path]]


def _check_cameras(path: Path, robot: RobotSpec) -> None:
    """
    Do nothing if the frames can be played: the policy waits for every camera of the contract.

    :raises ValueError: if the contract has no camera, or the dataset lacks one.
    """
    wanted, found = {camera.name for camera in robot.cameras}, set(open_dataset(path).cameras)
    if not wanted or wanted != found:
        raise ValueError(
            f'{path}: has cameras {", ".join(sorted(found)) or "none"}, {robot.name} has '
            f'{", ".join(sorted(wanted)) or "none"}; leave out --with-frames')
