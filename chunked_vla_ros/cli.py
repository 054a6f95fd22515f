"""
The command line ``chunked-vla``: a table of commands, each parsed from its options dataclass.

A command's modules are imported when it is called, so that help is instant and one command's
missing dependency does not stop another. A user's mistake is one line and exit code 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import contextlib
from dataclasses import dataclass, fields, make_dataclass
import io
import re
import sys
from typing import Annotated, Any, get_type_hints, TypeVar

import tyro

from chunked_vla_ros.bench.commands import Benchmark, BENCHMARKS
from chunked_vla_ros.graph.node_spec import GraphError

USAGE_EXIT_CODE = 2
HELP = ('-h', '--help')
BOX = '│╰╯─ '
COLOUR = re.compile(r'\x1b\[[0-9;]*m')

OptionsT = TypeVar('OptionsT')


@dataclass(frozen=True)
class Command:
    """A command: its words, what it does in one line, and the function that runs it."""

    words: tuple[str, ...]
    summary: str
    run: Callable[[str, Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by ``argv``; return the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    group = arguments[0] if arguments[1:] and arguments[1] in HELP else ''
    if not arguments or arguments[0] in HELP or group in GROUPS:
        print(_overview(group if group in GROUPS else ''))
        return 0 if arguments else USAGE_EXIT_CODE
    for command in COMMANDS:
        if tuple(arguments[:len(command.words)]) == command.words:
            return _run(command, arguments[len(command.words):])
    print(f'error: {_unknown(arguments)}', file=sys.stderr)
    return USAGE_EXIT_CODE


def _run(command: Command, arguments: Sequence[str]) -> int:
    program = ' '.join(('chunked-vla', *command.words))
    try:
        return command.run(program, arguments)
    except GraphError as error:
        print(f'error: {error}', file=sys.stderr)
        return USAGE_EXIT_CODE
    except SystemExit as end:    # after help or a mistake in the options
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _up_deploy(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
    from chunked_vla_ros.graph.up import run_graph
    return run_graph(deploy_graph(parse(DeployOptions, program, arguments)))


def _up_record(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.graph.record import record_graph, RecordOptions
    from chunked_vla_ros.graph.up import run_graph
    return run_graph(record_graph(parse(RecordOptions, program, arguments)))


def _up_train(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.graph.train import train_graph, TrainOptions
    from chunked_vla_ros.graph.up import run_graph
    return run_graph(train_graph(parse(TrainOptions, program, arguments)))


def _record(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.record.run import RecordEpisodesOptions, run_record
    return run_record(parse(RecordEpisodesOptions, program, arguments))


def _demo(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.demo.run import DemoOptions, run_demo
    return run_demo(parse(DemoOptions, program, arguments))


def _evaluate(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.evaluate.options import EvaluateOptions
    options = parse(EvaluateOptions, program, arguments)
    if options.data:
        # Needs neither simulator nor ROS.
        from chunked_vla_ros.evaluate.open_loop import run_on_data
        return run_on_data(options)
    from chunked_vla_ros.evaluate.run import run_evaluate
    return run_evaluate(options)


def _compare(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.evaluate.arms_run import CompareOptions, run_compare
    return run_compare(parse(CompareOptions, program, arguments))


def _bench(benchmark: Benchmark) -> Command:
    def run(program: str, arguments: Sequence[str]) -> int:
        return benchmark.run(lambda options: parse(options, program, arguments))
    return Command(('bench', benchmark.name), benchmark.summary, run)


def _convert(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.convert.run import ConvertOptions, run_convert
    return run_convert(parse(ConvertOptions, program, arguments))


def _export(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.training.export_options import ExportOptions
    from chunked_vla_ros.training.export_run import run_export
    return run_export(parse(ExportOptions, program, arguments))


def _train(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.training.options import TrainOptions
    from chunked_vla_ros.training.run import run_train
    return run_train(parse(TrainOptions, program, arguments))


def _play(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.play.options import PlayOptions
    from chunked_vla_ros.play.run import run_play
    return run_play(parse(PlayOptions, program, arguments))


def _bag_info(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.bag.info import BagInfoOptions, run_bag_info
    return run_bag_info(parse(BagInfoOptions, program, arguments))


def _bag_verify(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.bag.verify import BagVerifyOptions, run_bag_verify
    return run_bag_verify(parse(BagVerifyOptions, program, arguments))


def _bag_recover(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.bag.recover import BagRecoverOptions, run_bag_recover
    return run_bag_recover(parse(BagRecoverOptions, program, arguments))


def _dataset_info(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.dataset.info import DatasetInfoOptions, run_dataset_info
    return run_dataset_info(parse(DatasetInfoOptions, program, arguments))


def _dataset_delete(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.dataset.edit import DatasetDeleteOptions, run_dataset_delete
    return run_dataset_delete(parse(DatasetDeleteOptions, program, arguments))


def _dataset_split(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.dataset.edit import DatasetSplitOptions, run_dataset_split
    return run_dataset_split(parse(DatasetSplitOptions, program, arguments))


def _dataset_merge(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.dataset.edit import DatasetMergeOptions, run_dataset_merge
    return run_dataset_merge(parse(DatasetMergeOptions, program, arguments))


def _dataset_check(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.dataset.check import DatasetCheckOptions, run_dataset_check
    return run_dataset_check(parse(DatasetCheckOptions, program, arguments))


def _doctor(program: str, arguments: Sequence[str]) -> int:
    from chunked_vla_ros.doctor import DoctorOptions, run_doctor
    return run_doctor(parse(DoctorOptions, program, arguments))


COMMANDS = (
    Command(('up', 'deploy'), 'robot, inference and executor in the foreground', _up_deploy),
    Command(('up', 'record'), 'robot, executor, who demonstrates and recorder in the foreground',
            _up_record),
    Command(('up', 'train'), 'the offline trainer in the foreground: bags to dataset to policy',
            _up_train),
    Command(('record',), 'demonstrations into bags: of the expert, or of a person by keys',
            _record),
    Command(('demo',), 'seeded pick-and-place episodes over ROS 2, table and report', _demo),
    Command(('evaluate',), 'seeded episodes in simulated time: success with its interval, report',
            _evaluate),
    Command(('compare',), 'evaluations of several arms over several seeds as one paired table',
            _compare),
    *map(_bench, BENCHMARKS),
    Command(('convert',), 'bags to a LeRobot dataset: parallel, resumable, at one stroke',
            _convert),
    Command(('train',), 'a policy learns from datasets: resumable, in one process or several',
            _train),
    Command(('export',), 'a trained policy becomes a bundle, its graph held against the network',
            _export),
    Command(('play',), "a dataset's episodes as ROS topics", _play),
    Command(('bag', 'info'), 'what is in a bag: topics, rates, gaps, losses, time line',
            _bag_info),
    Command(('bag', 'verify'), 'is a bag whole: CRCs, index, numbers, metadata.yaml', _bag_verify),
    Command(('bag', 'recover'), 'rescue what is whole in a damaged bag', _bag_recover),
    Command(('dataset', 'info'), 'what is in a dataset: episodes, rates, joints, cameras, tasks',
            _dataset_info),
    Command(('dataset', 'check'), 'is a dataset fit to train on: a verdict per episode, and why',
            _dataset_check),
    Command(('dataset', 'delete'), 'a dataset without some of its episodes', _dataset_delete),
    Command(('dataset', 'split'), 'several datasets of one', _dataset_split),
    Command(('dataset', 'merge'), 'one dataset of several', _dataset_merge),
    Command(('doctor',), 'what of the environment is present, in force and fast enough', _doctor),
)
GROUPS = {command.words[0] for command in COMMANDS if len(command.words) > 1}


def parse(options: type[OptionsT], program: str, arguments: Sequence[str]) -> OptionsT:
    """
    Return ``options`` filled from ``arguments``.

    :raises SystemExit: 0 after help, 2 after one line about a mistake.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(_with_help(options), prog=program, args=list(arguments))
    except SystemExit as end:
        if end.code in (0, None):
            raise
        mistake = _first_sentence(complaint.getvalue())
        mistake = mistake.removeprefix(f'Error parsing {options.__name__}: ')
        print(f'error: {mistake} (see {program} --help)', file=sys.stderr)
        raise SystemExit(USAGE_EXIT_CODE) from None


def _with_help(options: type[OptionsT]) -> type[OptionsT]:
    """Return ``options`` with metadata['doc'] of its fields where tyro looks for help."""
    hints = get_type_hints(options, include_extras=True)
    described: list[Any] = [
        (spec.name, Annotated[hints[spec.name], tyro.conf.arg(help=spec.metadata['doc'])], spec)
        for spec in fields(options)    # type: ignore[arg-type]
        if 'doc' in spec.metadata]
    if not described:
        return options
    subclass = make_dataclass(options.__name__, described, bases=(options,), frozen=True)
    subclass.__doc__ = options.__doc__
    return subclass


def _first_sentence(text: str) -> str:
    """Return what a message of tyro says, between its title and its next ruler, in one line."""
    words: list[str] = []
    for line in COLOUR.sub('', text).splitlines()[1:]:
        content = line.strip(BOX)
        if content.strip('-'):
            words.append(content)
        elif words:
            break
    return ' '.join(words) or 'wrong arguments'


def _overview(group: str = '') -> str:
    """Return the commands, or only those of ``group``, each with a line about it."""
    shown = [command for command in COMMANDS if group in ('', command.words[0])]
    width = max(len(' '.join(command.words)) for command in shown)
    lines = [f'  {" ".join(command.words):<{width}}  {command.summary}' for command in shown]
    return '\n'.join((
        'usage: chunked-vla COMMAND [OPTIONS]', '',
        'Vision-Language-Action policies on real arms, in action chunks.', '', *lines, '',
        "chunked-vla COMMAND --help tells a command's options."))


def _unknown(arguments: Sequence[str]) -> str:
    following = [command.words[1] for command in COMMANDS
                 if len(command.words) > 1 and command.words[0] == arguments[0]]
    if following:
        found = arguments[1] if len(arguments) > 1 else 'nothing'
        return f'{arguments[0]} needs one of {", ".join(following)}, got {found}'
    return (f'unknown command {arguments[0]!r}, expected one of '
            f'{", ".join(" ".join(command.words) for command in COMMANDS)}')
