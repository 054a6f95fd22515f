"""Checkpoints: whole or not there; whatever is wrong with one is said in one line."""

from collections.abc import Callable
import hashlib
import json
from pathlib import Path
import pickle
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file
import torch

from chunked_vla_ros.data.checkpoint_folder import checkpoints, newest_checkpoint
from chunked_vla_ros.training.checkpoint import read_origin, read_policy
from chunked_vla_ros.training.checkpoint_files import (
    CheckpointError,
    Contents,
    read_state,
    read_tensors,
    write_contents,
)
from chunked_vla_ros.training.train import run_training

# Writes checkpoint 2 beside checkpoint 1 again and again, and is killed at each of the file
# operations in turn: the n-th child at its n-th. Prints how many there are.
WRITER = """
import os, signal, sys
from pathlib import Path
import torch
from chunked_vla_ros.training.checkpoint_files import Contents, prune, write_contents
root = Path(sys.argv[1])

def contents(step):
    return Contents({'step': step, 'validation_loss': None},
                    {'model': {'weight': torch.full((1000,), float(step))}}, {'a.json': b'{}'})

operations, deadly, armed = 0, None, False
def watch(event, arguments):
    global operations
    if armed and event in ('open', 'os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.listdir',
                           'os.scandir', 'ctypes.dlsym', 'shutil.rmtree'):
        operations += 1
        if operations == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
for deadly in range(1, 1000):
    out = root / f'{deadly:03}'
    operations = 0
    write_contents(out, 1, contents(1))
    child = os.fork()
    if child == 0:
        armed = True
        write_contents(out, 2, contents(2))
        prune(out, 1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(deadly - 1)
        break
"""


@pytest.fixture(scope='module')
def trained(make_material_of, tmp_path_factory) -> Path:
    """Return the checkpoint of a training of one step."""
    out = tmp_path_factory.mktemp('trained')
    return run_training(make_material_of('steps=1'), out, False, lambda standing: None).checkpoint


@pytest.fixture
def checkpoint(trained, tmp_path) -> Path:
    """Return a copy of it to be damaged, in a folder of its own."""
    folder = tmp_path / 'out' / 'checkpoints' / trained.name
    shutil.copytree(trained, folder)
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        read_policy(path)
    message = str(refused.value)
    assert '\n' not in message
    return message


@pytest.mark.timeout(300)
def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path):
    done = subprocess.run([sys.executable, '-c', WRITER, str(tmp_path)], capture_output=True,
                          text=True, timeout=250, check=True)
    operations = int(done.stdout)
    assert operations > 15
    newest = []
    for out in sorted(tmp_path.iterdir()):
        path = newest_checkpoint(out)
        step = read_state(path)['step']
        assert read_tensors(path / 'model.safetensors')['weight'].tolist() == [step] * 1000
        newest.append(step)
        # The next one that is written sweeps away what was left lying.
        write_contents(out, 3, Contents({'step': 3}, {}, {}))
        assert not list((out / 'checkpoints').glob('.*'))
    assert len(newest) == operations + 1
    assert newest == sorted(newest)
    assert set(newest) == {1, 2}


def test_a_checkpoint_that_cannot_be_written_leaves_the_others(tmp_path):
    write_contents(tmp_path, 1, Contents({'step': 1}, {'model': {'a': torch.ones(2)}}, {}))
    with pytest.raises(OSError, match='checkpoint cannot be written') as refused:
        write_contents(tmp_path, 1, Contents({'step': 1}, {}, {}))
    assert refused.value.filename.endswith('step_000001')
    assert [path.name for path in (tmp_path / 'checkpoints').iterdir()] == ['step_000001']


def test_whatever_stops_a_checkpoint_from_being_written_nothing_of_it_is_left(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        write_contents(tmp_path, 1, Contents({'loss': float('nan')}, {}, {}))
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_tied_and_sliced_tensors_are_written_each_by_itself(tmp_path):
    table = torch.arange(6.0).reshape(2, 3)
    tensors = {'a': table, 'tied': table, 'slice': table[:, :2], 'none': table[:0]}
    folder = write_contents(tmp_path, 1, Contents({}, {'model': tensors}, {}))
    found = load_file(folder / 'model.safetensors')
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


class Bomb:
    """Whoever unpickles it touches the file that it names."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize('save', [
    lambda bomb, path: path.write_bytes(pickle.dumps(bomb)),
    lambda bomb, path: torch.save(bomb, path),
    lambda bomb, path: torch.save(bomb, path, _use_new_zipfile_serialization=False)])
@pytest.mark.parametrize('name', ['model.safetensors', 'optimizer.pt', 'pytorch_model.bin'])
def test_a_pickle_is_refused_and_never_run(checkpoint, tmp_path, save, name):
    canary = tmp_path / 'canary'
    save(Bomb(canary), checkpoint / name)
    assert refusal(checkpoint) == (
        f'{checkpoint / name}: is a pickle, which may run any program when it is read: refused; '
        'expected safetensors and JSON only')
    with pytest.raises(CheckpointError, match='pickle'):
        read_origin(checkpoint)
    with pytest.raises(CheckpointError, match='pickle'):
        read_policy(checkpoint / name) if name != 'model.safetensors' else read_tensors(
            checkpoint / name)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Bomb(canary)))
    assert canary.exists(), 'the bomb is none: the test would not notice it either'


def test_a_file_that_was_cut_off_is_named(checkpoint):
    path = checkpoint / 'ema.safetensors'
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(checkpoint) == (f'{path}: has 1000 bytes, expected {size}: cut off, use '
                                   'another checkpoint')
    with pytest.raises(CheckpointError, match=r'no safetensors file, or cut off \(.*\), use'):
        read_tensors(path)


@pytest.mark.parametrize('file', ['model.safetensors', 'tokenizer.json', 'history.json'])
def test_a_bit_that_flipped_is_noticed(checkpoint, file):
    path = checkpoint / file
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert refusal(checkpoint).startswith(f'{path}: differs from its SHA-256 in state.json')


def test_a_file_that_is_missing_is_named(checkpoint):
    (checkpoint / 'model.safetensors').unlink()
    assert 'model.safetensors: is missing' in refusal(checkpoint)


@pytest.mark.parametrize(('change', 'line'), [
    (lambda said: said.pop('shape'), "state.json: 'shape' is missing, use another"),
    (lambda said: said.update(schema=9), 'state.json: schema is 9, expected 1; it is of another'),
    (lambda said: said.pop('schema'), 'state.json: schema is None, expected 1'),
    (lambda said: said.update(files=3), 'state.json: says nothing of its files'),
    (lambda said: said['files'].update({'../x': {}}), 'state.json: files is not readable'),
    (lambda said: said['config'].update(steps='x'), "state.json: config: steps is 'x', expected"),
    (lambda said: said['normalisation'].pop('state_std'), 'state.json: normalisation lacks'),
    (lambda said: said.update(step='x'), 'state.json: invalid literal'),
    (lambda said: said.update(tokenizer=[]), 'state.json: list indices must be'),
    (lambda said: said['config']['policy'].update(width=32), 'the weights are those of another')])
def test_what_a_checkpoint_says_of_itself_is_read_strictly(checkpoint, change, line):
    said = json.loads((checkpoint / 'state.json').read_text())
    change(said)
    (checkpoint / 'state.json').write_text(json.dumps(said))
    assert line in refusal(checkpoint)


def test_what_is_no_checkpoint_is_named(checkpoint, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert refusal(tmp_path / 'empty').endswith('expected the folder of a training, or one of '
                                                'its checkpoints')
    assert 'expected a folder with state.json' in refusal(tmp_path / 'none')
    (checkpoint / 'state.json').write_text('{')
    assert 'state.json: not JSON' in refusal(checkpoint)


def test_a_folder_of_a_training_stands_for_its_newest_checkpoint(checkpoint):
    out = checkpoint.parents[1]
    assert read_policy(out).step == read_policy(checkpoint).step == 1
    assert checkpoints(out) == (checkpoint,)


def test_weights_of_other_shapes_are_refused(checkpoint):
    state = checkpoint / 'state.json'
    said = json.loads(state.read_text())
    for name in ('model.safetensors', 'ema.safetensors'):
        weights = load_file(checkpoint / name)
        assert weights['summary'].shape == (1, 1, 16)
        save_file({**weights, 'summary': torch.zeros(1, 1, 3)}, checkpoint / name)
        # Sealed again: only the network can notice it now.
        content = (checkpoint / name).read_bytes()
        said['files'][name] = {
            'size': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
    state.write_text(json.dumps(said))
    message = refusal(checkpoint)
    assert message.startswith(f'{checkpoint}: the weights are those of another network (')
    assert 'size mismatch for summary' in message
