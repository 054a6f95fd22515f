"""``chunked-vla train``: processes, signals, and mistakes that are one line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import pyarrow as pa
from pyarrow import parquet
import pytest
from safetensors.torch import load_file
import torch

from chunked_vla_ros.cli import main
from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.data import training_rows
from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.training.run import mistake_line
from chunked_vla_ros.training.train import run_training

# Each process imports torch, which on a busy machine takes a minute.
LIMIT_S = 250
SINGLE = {**os.environ, 'OMP_NUM_THREADS': '1'}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def call(capsys) -> Iterator[Callable[..., Ended]]:
    """Return what runs a command line in this process; its signal handlers are taken back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> Ended:
        code = main(arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.timeout(300)
def test_two_processes_learn_what_one_learns(place, make_material_of, tmp_path):
    run_training(make_material_of(), tmp_path / 'one', False, lambda standing: None)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         '-m', 'chunked_vla_ros', *place.arguments(tmp_path / 'two')],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, env=SINGLE)
    assert done.returncode == 0, done.stderr
    one, two = (newest_checkpoint(tmp_path / name) for name in ('one', 'two'))
    assert done.stdout.splitlines() == [    # one process speaks
        f'checkpoint: {two}', f'report: {tmp_path / "two" / "report.html"}']
    curves = [json.loads((folder / 'history.json').read_text())['training']
              for folder in (one, two)]
    # AdamW takes no notice of a gradient that is longer or shorter throughout: its norm tells. How
    # it adds up differs by 5e-5 where places are found in pictures of noise.
    for name in ('loss', 'gradient_norm'):
        assert len(curves[0][name]) == 4
        assert curves[1][name] == pytest.approx(curves[0][name], rel=2e-4), name
    weights, others = (load_file(folder / 'model.safetensors') for folder in (one, two))
    # Where a gradient is hardly more than rounding AdamW takes a full step either way: single
    # weights differ. On the mean they moved about 0.01, ten times as far where places are found.
    for name, tensor in weights.items():
        apart = (others[name] - tensor).abs().mean()
        assert apart < (5e-3 if 'colours' in name else 5e-4), name


@pytest.mark.timeout(300)
def test_a_signal_ends_the_step_with_a_checkpoint_to_go_on_from(
        place, make_material_of, tmp_path, told):
    endless = 'steps=100000', 'checkpoint_every=100000', 'validate_every=100000'
    with subprocess.Popen(
            [sys.executable, '-m', 'chunked_vla_ros',
             *place.arguments(tmp_path / 'out', '--set', *endless, '--progress', 'json')],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=SINGLE) as process:
        said = [json.loads(process.stdout.readline())]
        while said[-1]['step'] < 1:
            said.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        heard = process.stderr.readline()
        process.send_signal(signal.SIGINT)    # of an impatient hand
        rest, errors = process.communicate(timeout=LIMIT_S)
    said += map(json.loads, rest.splitlines())
    assert process.returncode == 130
    assert heard == 'SIGTERM: ending after this step, with a checkpoint\n'
    step, checkpoint = said[-1]['step'], newest_checkpoint(tmp_path / 'out')
    assert said[-1] == {
        'event': 'end', 'stage': 'imitation', 'step': step, 'bundle': '',
        'checkpoint': str(checkpoint), 'message': f'stopped at step {step}'}
    assert errors.splitlines()[-1] == (
        f'error: stopped by SIGTERM at step {step}; {checkpoint} is whole, '
        'go on from it with --resume')
    assert {key for line in said[:-1] for key in line['metrics']} == {
        'loss', 'learning_rate', 'gradient_norm', 'samples_per_s', 'data_wait_share'}
    run_training(make_material_of(*endless), tmp_path / 'again', False, told,
                 lambda: len(told.losses) >= step - 1)
    history = json.loads((checkpoint / 'history.json').read_text())
    assert history['training']['loss'] == told.losses


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_data_are_read_ends_at_once(place, tmp_path, call, monkeypatch, number):
    monkeypatch.setattr(training_rows, 'read_training_rows',
                        lambda *arguments: os.kill(os.getpid(), number))
    ended = call(*place.arguments(tmp_path / 'out', '--progress', 'none'))
    assert ended.code == 130
    assert ended.err == 'error: stopped; there was no checkpoint yet\n'


def test_the_same_command_again_goes_on_and_then_has_nothing_to_do(place, tmp_path, call):
    arguments = place.arguments(tmp_path / 'out', '--set', 'steps=2', '--resume')
    first, again = call(*arguments), call(*arguments)
    checkpoint = newest_checkpoint(tmp_path / 'out')
    assert first.code == again.code == 0
    assert first.out == again.out == (
        f'checkpoint: {checkpoint}\nreport: {tmp_path / "out" / "report.html"}\n')
    without = call(*place.arguments(tmp_path / 'out', '--set', 'steps=2'))
    assert without.code == 2
    assert 'at step 2: go on with --resume, or name another folder' in without.last


def test_the_folder_of_the_bundle_must_be_free(place, tmp_path, call):
    ended = call(*place.arguments(tmp_path / 'out', '--bundle', str(tmp_path)))
    assert ended.code == 2
    assert ended.last == f'error: {tmp_path}: exists already, expected a new folder for --bundle'
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow    # tracing a network takes its time
def test_a_bundle_is_written_at_the_end_and_is_left_where_it_is_there(place, tmp_path, call):
    bundle = tmp_path / 'bundle'
    arguments = place.arguments(
        tmp_path / 'out', '--set', 'steps=1', '--resume', '--bundle', str(bundle))
    ended = call(*arguments)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, f'bundle: {bundle}')
    found = read_bundle(bundle)
    assert found.manifest.name == 'out'
    assert found.manifest.joint_names == ('arm_joint', 'finger_joint')
    assert call(*arguments).out == ended.out
    assert read_bundle(bundle).policy_id == found.policy_id


def test_the_bundle_of_another_training_is_not_taken_for_its_own(
        place, tmp_path, call, make_bundle, make_robot):
    arguments = place.arguments(tmp_path / 'out', '--set', 'steps=1', '--resume')
    assert call(*arguments).code == 0
    bundle = make_bundle(tmp_path / 'bundle', make_robot()).directory
    ended = call(*arguments, '--bundle', str(bundle))
    assert (ended.code, ended.out) == (2, '')
    assert ended.last.startswith(
        f'error: {bundle}: exists already and is of another training (stage is ')


def test_each_of_several_processes_says_why_it_ends(place, tmp_path, call, monkeypatch):
    arguments = place.arguments(tmp_path / 'out', '--data', '/nowhere', '--progress', 'none')
    alone = call(*arguments).err
    assert alone.startswith('error: /nowhere')
    monkeypatch.setenv('RANK', '1')
    assert call(*arguments).err == alone.replace('error: ', 'error: rank 1: ')


def test_what_is_missing_is_named(place, call):
    assert call('train').last == ('error: --data is missing: chunked-vla train CONFIG --data DIR '
                                  '--out DIR')
    assert call('train', '--data', 'x').last.startswith('error: --out is missing')


def test_one_episode_is_learnt_and_it_is_said_that_nothing_validates(
        place, make_training_data, tmp_path, call):
    ended = call(*place.arguments(tmp_path / 'out', '--progress', 'none', '--set', 'steps=1',
                                  '--data', str(make_training_data(1))))
    assert (ended.code, ended.err) == (0, 'note: one episode only: no validation\n')


@pytest.mark.parametrize(('more', 'line'), [
    (('--set', 'policy.width=97'), 'policy.width is 97, expected a multiple of policy.heads, 2'),
    (('--set', 'cameras=[top]'), "camera 'top' is none of tiny, expected one of front"),
    (('--set', 'step_s=0.15'), 'expected a whole number: set step_s to 0.2'),
    (('--set', 'robot=nobody'), "'nobody': no such robot contract"),
    (('--set', 'robot=ur5e_sim'), "has joint 'arm_joint', which ur5e_sim lacks"),
    (('--set', 'precision=fp16'), 'precision is fp16, which needs a GPU: expected no, or bf16'),
    (('--set', 'held_out=[7]'), "held_out: no episode '7', expected some of small#0, small#1"),
    (('--set', 'held_out=[0,1,2]'), 'held_out names all of 3 episodes: leave some'),
    (('--data', '/nowhere'), '/nowhere'),
    (('--set', 'policy.backbone=transformers', 'policy.model_path=/nowhere'),
     '/nowhere/tokenizer.json: cannot be read (No such file or directory); set policy.')])
def test_a_mistake_is_one_line_and_nothing_is_written(place, tmp_path, call, more, line):
    if torch.cuda.is_available() and 'fp16' in more[-1]:
        pytest.skip('there is a GPU')
    ended = call(*place.arguments(tmp_path / 'out', '--progress', 'none', *more))
    assert ended.code == 2
    assert line in ended.err
    assert ended.err.startswith('error: ')
    assert ended.err.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_row_that_is_no_number_is_named(place, make_training_data, tmp_path, call):
    data = make_training_data(2)
    path = next(data.glob('data/**/*.parquet'))
    table = parquet.read_table(path)
    state = table['observation.state'].to_pylist()
    state[3][1] = float('nan')
    place_of = table.column_names.index('observation.state')
    parquet.write_table(table.set_column(
        place_of, table.schema.field(place_of), pa.array(
            state, table.schema.field(place_of).type)), path)
    ended = call(*place.arguments(
        tmp_path / 'out', '--progress', 'none', '--data', str(data)))
    assert ended.code == 2
    assert 'state in row 3 is not finite' in ended.err
    assert ended.err.count('\n') == 1


def test_a_folder_that_cannot_be_written_is_named(place, tmp_path, call):
    (tmp_path / 'file').write_text('')
    ended = call(*place.arguments(tmp_path / 'file' / 'out', '--progress', 'none'))
    assert ended.code == 2
    assert ended.last == f'error: {tmp_path / "file" / "out"}: Not a directory'


def test_too_little_memory_is_one_line_that_says_what_to_lower():
    gpu = mistake_line(torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'))
    assert gpu.startswith('the GPU has too little memory for this training: lower batch_size')
    assert 'precision=bf16' in gpu
    for words in ('CUDA error: out of memory', 'cuDNN error: CUDNN_STATUS_ALLOC_FAILED',
                  'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'):
        assert mistake_line(RuntimeError(words)) == gpu
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 58)
    assert mistake_line(failed.value).startswith('the machine has too little memory')
    assert mistake_line(PolicyError('no words')) == 'no words'
    assert mistake_line(RuntimeError('something else')) is None
    assert mistake_line(KeyError('x')) is None


def test_only_weights_that_come_with_a_wheel_are_read_by_torch_itself():
    package = Path(__file__).parents[2] / 'chunked_vla_ros'
    calls = {(path.name, line.strip()) for path in package.rglob('*.py')
             for line in path.read_text().splitlines()
             if 'torch.load(' in line or 'pickle.load' in line}
    assert all(name == 'lite0_weights.py' and 'weights_only=True' in line for name, line in calls)
