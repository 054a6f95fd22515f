"""Factories shared by the tests: a small robot, chunks, bundles and bags, in round numbers."""

from collections.abc import Callable, Sequence
from functools import partial
import json
from pathlib import Path
import random
from typing import Any

from hypothesis import HealthCheck, settings
import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import (
    BundleCamera,
    BundleManifest,
    Statistics,
    TokenizerSpec,
)
from chunked_vla_ros.core.recording import StreamSpec as RecordedStream
from chunked_vla_ros.core.robot_spec import (
    CommandKind,
    CommandSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import ActionChunk, DimKind
from chunked_vla_ros.data.bag_metadata import BagMetadata, metadata_text
from chunked_vla_ros.data.policy_bundle import Bundle, write_bundle

MS = 1_000_000
SESSION = 'ab' * 16

# The same examples in every run, however slow the machine; --hypothesis-profile=search draws new
# ones and remembers what failed.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile('search', UNHURRIED)
settings.register_profile('suite', UNHURRIED, derandomize=True)
settings.load_profile('suite')


@pytest.fixture(scope='session')
def make_robot() -> Callable[..., RobotSpec]:
    """Return a factory: joints with range +-2 rad, 1 rad/s, 2 rad/s^2, 20 rad/s^3."""
    def make(kinds: Sequence[DimKind] = (DimKind.CONTINUOUS, DimKind.CONTINUOUS),
             **limits: float) -> RobotSpec:
        values = {'lower': -2.0, 'upper': 2.0, 'velocity': 1.0, 'acceleration': 2.0,
                  'jerk': 20.0, 'home': 0.0} | limits
        joints = tuple(JointSpec(name=f'joint_{i}', kind=kind, **values)
                       for i, kind in enumerate(kinds))
        return RobotSpec(
            name='small', base_frame='world', joints=joints, gripper=None,
            state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1), cameras=(),
            command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 200.0))
    return make


@pytest.fixture(scope='session')
def make_chunk() -> Callable[..., ActionChunk]:
    """Return a factory: points 50 ms apart, valid for 1 s, observed when they start."""
    def make(positions: Any, start_ns: int = 10**9, chunk_id: int = 1, step_ns: int = 50 * MS,
             **fields: Any) -> ActionChunk:
        rows = np.asarray(positions, dtype=float)
        values = {
            'session_id': SESSION, 'observation_ns': start_ns, 'valid_for_ns': 1000 * MS,
            'joint_names': tuple(f'joint_{i}' for i in range(rows.shape[1])),
            'offsets_ns': np.arange(len(rows)) * step_ns} | fields
        return ActionChunk(chunk_id=chunk_id, start_ns=start_ns, positions=rows, **values)
    return make


# What the bundles' model adds to the measured joints, per 255 of mean brightness, per token id
# and per point of the chunk.
IMAGE_GAIN, TOKEN_GAIN, RAMP = 0.5, 0.25, 0.01
WORDS = {'[PAD]': 0, '[UNK]': 1, 'go': 2, 'left': 3, 'right': 4}
HEAVY = 1024


class ModelSketch:
    """An ONNX graph in the making: inputs, nodes, constants, and the terms of its sum."""

    def __init__(self) -> None:
        self.onnx = pytest.importorskip('onnx')
        self.float = self.onnx.TensorProto.FLOAT
        self.inputs: list[Any] = []
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.terms: list[str] = []

    def take(self, name: str, kind: str, shape: Sequence[int]) -> str:
        """Add an input and return its name."""
        self.inputs.append(self.onnx.helper.make_tensor_value_info(
            name, getattr(self.onnx.TensorProto, kind), shape))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f'constant.{len(self.constants)}'
        self.constants[name] = np.asarray(value, dtype)
        return name

    def add(self, operator: str, *takes: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = f'{operator}.{len(self.nodes)}'
        self.nodes.append(self.onnx.helper.make_node(operator, takes, [name], **attributes))
        return name

    def finish(self, shape: Sequence[int]) -> bytes:
        """Return the file of a model whose output is the sum of the terms."""
        helper = self.onnx.helper
        self.nodes.append(helper.make_node('Sum', self.terms, ['actions']))
        graph = helper.make_graph(
            self.nodes, 'small', self.inputs,
            [helper.make_tensor_value_info('actions', self.float, shape)],
            [self.onnx.numpy_helper.from_array(value, name)
             for name, value in self.constants.items()])
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9).SerializeToString()


def bundle_model(manifest: BundleManifest, noise: int = 0, nan_above: float | None = None,
                 work: int = 0, prefix: bool = False) -> bytes:
    """
    Return an ONNX file that computes, for point k = 1 to H of each joint::

        state + IMAGE_GAIN * mean(images) / 255 + TOKEN_GAIN * sum(tokens * mask)
              + RAMP * k + noise + prefix * prefix_mask

    :param noise: So many chunks of noise, of which the largest numbers count.
    :param nan_above: The actions are NaN while the first joint is above this.
    :param work: So many products of 1024x1024 matrices come first and change nothing.
    """
    sketch, joints, points = ModelSketch(), len(manifest.joint_names), manifest.horizon
    state = sketch.take('state', 'FLOAT', [1, joints])
    ramp = RAMP * np.arange(1, points + 1).reshape(1, points, 1)
    sketch.terms += [
        sketch.add('Reshape', state, sketch.constant([1, 1, joints], np.int64)),
        sketch.constant(ramp)]
    for camera in manifest.cameras:
        image = sketch.take(f'image.{camera.name}', 'UINT8', [1, camera.height, camera.width, 3])
        mean = sketch.add('ReduceMean', sketch.add('Cast', image, to=sketch.float), keepdims=0)
        sketch.terms.append(sketch.add(
            'Mul', mean, sketch.constant(IMAGE_GAIN / 255 / len(manifest.cameras))))
    if manifest.tokenizer is not None:
        tokens, mask = (sketch.take(name, 'INT64', [1, manifest.tokenizer.max_length])
                        for name in ('tokens', 'tokens_mask'))
        seen = sketch.add('Cast', sketch.add('Mul', tokens, mask), to=sketch.float)
        sketch.terms.append(sketch.add(
            'Mul', sketch.add('ReduceSum', seen, keepdims=0), sketch.constant(TOKEN_GAIN)))
    if noise:
        drawn = sketch.take('noise', 'FLOAT', [int(noise), points, joints])
        sketch.terms.append(sketch.add('ReduceMax', drawn, axes=[0]))
    if prefix:
        counts = sketch.add('Unsqueeze', sketch.take('prefix_mask', 'FLOAT', [1, points]),
                            sketch.constant([2], np.int64))
        sketch.terms.append(sketch.add(
            'Mul', sketch.take('prefix', 'FLOAT', [1, points, joints]), counts))
    first = sketch.add('Gather', state, sketch.constant([0], np.int64), axis=1)
    if nan_above is not None:
        well = sketch.add('LessOrEqual', first, sketch.constant(nan_above))
        # 0 / 1 where all is well, 0 / 0 elsewhere.
        sketch.terms.append(sketch.add(
            'Div', sketch.constant(0.0), sketch.add('Cast', well, to=sketch.float)))
    if work:
        product = sketch.add('Add', first, sketch.constant(np.zeros((HEAVY, HEAVY))))
        weights = sketch.constant(np.full((HEAVY, HEAVY), 1 / HEAVY))
        for _ in range(work):
            product = sketch.add('MatMul', product, weights)
        sketch.terms.append(sketch.add(
            'Mul', sketch.add('ReduceMean', product, keepdims=0), sketch.constant(0.0)))
    return sketch.finish([1, points, joints])


def bundle_tokenizer() -> bytes:
    """Return a tokenizer that knows `WORDS` and splits at white space."""
    return json.dumps({
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [],
        'normalizer': {'type': 'Lowercase'}, 'pre_tokenizer': {'type': 'Whitespace'},
        'post_processor': None, 'decoder': None,
        'model': {'type': 'WordLevel', 'vocab': WORDS, 'unk_token': '[UNK]'}}).encode()


@pytest.fixture(scope='session')
def make_manifest() -> Callable[..., BundleManifest]:
    """Return a factory: a manifest that fits a robot, but for the fields given."""
    def make(robot: RobotSpec, tokenizer: bool = True, **fields: Any) -> BundleManifest:
        zeros, ones = (0.0,) * len(robot.joints), (1.0,) * len(robot.joints)
        statistics = Statistics(zeros, ones, tuple(-1.0 for _ in ones), ones)
        values = {
            'name': 'small', 'created': '2026-01-31T12:00:00Z', 'files': (),
            'joint_names': robot.joint_names, 'dim_kinds': robot.dim_kinds,
            'horizon': 16, 'step_s': 0.05, 'replan_period_s': 0.4, 'needs_instruction': False,
            'cameras': tuple(BundleCamera(camera.name, camera.frame_shape[1],
                                          camera.frame_shape[0]) for camera in robot.cameras),
            'tokenizer': TokenizerSpec('tokenizer.json', 4, 0) if tokenizer else None,
            'state_statistics': statistics, 'action_statistics': statistics,
            'training': {'data': 'none: made by a test'}} | fields
        return BundleManifest(**values)
    return make


@pytest.fixture(scope='session')
def make_bundle(make_manifest: Callable[..., BundleManifest]) -> Callable[..., Bundle]:
    """
    Return a factory: a bundle of `bundle_model` for a robot, written to a new directory.

    ``noise``, ``nan_above``, ``work`` and ``prefix`` go to `bundle_model`; other fields to the
    manifest; ``model`` takes the place of the generated bytes.
    """
    def make(directory: Path, robot: RobotSpec, noise: int = 0,
             nan_above: float | None = None, work: int = 0, prefix: bool = False,
             model: bytes | None = None, **fields: Any) -> Bundle:
        manifest = make_manifest(robot, **fields)
        files = {'policy.onnx': bundle_model(manifest, noise, nan_above, work, prefix)
                 if model is None else model}
        if manifest.tokenizer is not None:
            files[manifest.tokenizer.file] = bundle_tokenizer()
        return write_bundle(directory, manifest, files)
    return make


# When the first message of a written bag came, in [ns].
BAG_START_NS = 1_700_000_000 * 10**9


@pytest.fixture(scope='session')
def write_mcap() -> Callable[..., Path]:
    """
    Return a factory: an MCAP file by `mcap`'s own writer, an independent one.

    Message i of ``messages`` is on topic i modulo 2, 10 ms after the one before, the n-th of its
    topic with number n; ``leave_out`` are not written. Every ``per_chunk`` a chunk is closed.
    """
    writer_module = pytest.importorskip('mcap.writer')
    topics = ('/joint_states', '/camera')

    def write(path: Path, messages: int = 100, per_chunk: int = 10, compression: str = 'NONE',
              leave_out: Sequence[int] = (), facts: dict[str, str] | None = None,
              start_ns: int = BAG_START_NS, **options: Any) -> Path:
        with path.open('wb') as stream:
            writer = writer_module.Writer(
                stream, compression=writer_module.CompressionType[compression],
                enable_data_crcs=True, **options)
            writer.start('ros2', 'test')
            schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data\n')
            channels = [writer.register_channel(topic, 'cdr', schema, {
                'offered_qos_profiles': '', 'topic_type_hash': ''}) for topic in topics]
            for i in range(messages):
                if i not in leave_out:
                    stamp = start_ns + i * 10 * MS
                    writer.add_message(channels[i % 2], stamp, b'\0\1\0\0' + bytes([i % 256] * 40),
                                       stamp - MS, i // 2 + 1)
                if i % per_chunk == per_chunk - 1:
                    writer.flush()
            if facts is not None:
                writer.add_metadata('chunked_vla_ros', facts)
            writer.finish()
        return path
    return write


@pytest.fixture(scope='session')
def write_bag(write_mcap: Callable[..., Path]) -> Callable[..., Path]:
    """Return a factory: a bag directory with a file of `write_mcap` and its metadata.yaml."""
    def write(folder: Path, facts: dict[str, str] | None = None, messages: int = 100,
              **options: Any) -> Path:
        folder.mkdir()
        path = write_mcap(folder / f'{folder.name}_0.mcap', messages, facts=facts, **options)
        spec = partial(RecordedStream, type_name='std_msgs/msg/String')
        metadata = BagMetadata(
            path.name, ((spec('/joint_states'), (messages + 1) // 2),
                        (spec('/camera'), messages // 2)),
            BAG_START_NS, (messages - 1) * 10 * MS, facts or {})
        (folder / 'metadata.yaml').write_text(metadata_text(metadata))
        return folder
    return write


# Lengths and counts that ask for too much.
HUGE = (0, 1, 255, 256, 2**16 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)


@pytest.fixture(scope='session')
def mutate() -> Callable[[bytes, random.Random], bytes]:
    """Return a function that gives bytes one to four faults of the kinds disks and kills make."""
    def change(data: bytes, chance: random.Random) -> bytes:
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(max(len(mutated), 1))
            kind = chance.randrange(7)
            if kind == 0:
                mutated[at:at + 1] = bytes([chance.randrange(256)])
            elif kind == 1 and mutated:
                mutated[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                del mutated[at:]
            elif kind == 3:
                size = chance.choice((2, 4, 8))
                mutated[at:at + size] = (chance.choice(HUGE) % 256**size).to_bytes(size, 'little')
            elif kind == 4:
                mutated[at:at + 4096] = bytes(len(mutated[at:at + 4096]))
            elif kind == 5:
                del mutated[at:at + chance.randint(1, 300)]
            else:
                mutated[at:at] = chance.randbytes(chance.randint(1, 100))
        return bytes(mutated)
    return change


class BagAuthor:
    """Make messages of plain values and write them into bags by rosbags, an independent writer."""

    def __init__(self) -> None:
        self.rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
        from rosbags.typesys import get_types_from_msg, get_typestore, Stores
        self.store = get_typestore(Stores.ROS2_JAZZY)
        for name in ('EpisodeEvent', 'ExecutorState'):
            text = (Path(__file__).parents[1] / 'msg' / f'{name}.msg').read_text()
            self.store.register(get_types_from_msg(text, f'chunked_vla_ros/msg/{name}'))

    def make(self, kind: str, **fields: Any) -> Any:
        """Return a message of type ``kind``, such as 'std_msgs/msg/String'."""
        return self.store.types[kind](**fields)

    def header(self, stamp_ns: int) -> Any:
        stamp = self.make('builtin_interfaces/msg/Time', sec=stamp_ns // 10**9,
                          nanosec=stamp_ns % 10**9)
        return self.make('std_msgs/msg/Header', stamp=stamp, frame_id='')

    def joints(self, stamp_ns: int, names: Sequence[str], position: Any) -> Any:
        return self.make(
            'sensor_msgs/msg/JointState', header=self.header(stamp_ns), name=list(names),
            position=np.array(position, np.float64), velocity=np.empty(0), effort=np.empty(0))

    def image(self, stamp_ns: int, pixels: np.ndarray) -> Any:
        height, width, _ = pixels.shape
        return self.make(
            'sensor_msgs/msg/Image', header=self.header(stamp_ns), height=height, width=width,
            encoding='rgb8', is_bigendian=0, step=3 * width, data=pixels.reshape(-1))

    def compressed(self, stamp_ns: int, file: bytes) -> Any:
        return self.make(
            'sensor_msgs/msg/CompressedImage', header=self.header(stamp_ns), format='jpeg',
            data=np.frombuffer(file, np.uint8))

    def text(self, data: str) -> Any:
        return self.make('std_msgs/msg/String', data=data)

    def floats(self, values: Any) -> Any:
        layout = self.make('std_msgs/msg/MultiArrayLayout', dim=[], data_offset=0)
        return self.make('std_msgs/msg/Float64MultiArray', layout=layout,
                         data=np.array(values, np.float64))

    def point(self, positions: Any, offset_ns: int = 0) -> Any:
        after = self.make('builtin_interfaces/msg/Duration', sec=offset_ns // 10**9,
                          nanosec=offset_ns % 10**9)
        none = np.empty(0)
        return self.make(
            'trajectory_msgs/msg/JointTrajectoryPoint', velocities=none, accelerations=none,
            effort=none, positions=np.array(positions, np.float64), time_from_start=after)

    def trajectory(self, stamp_ns: int, names: Sequence[str], points: list[Any]) -> Any:
        return self.make('trajectory_msgs/msg/JointTrajectory', header=self.header(stamp_ns),
                         joint_names=list(names), points=points)

    def event(self, stamp_ns: int, kind: int, value: float = 0.0, text: str = '') -> Any:
        return self.make('chunked_vla_ros/msg/EpisodeEvent', header=self.header(stamp_ns),
                         episode_id='', type=kind, value=value, text=text, source='test')

    def write(self, path: Path, messages: Sequence[tuple[str, int, Any]], sqlite: bool = False,
              facts: dict[str, str] | None = None) -> Path:
        """Write a bag of ``messages``: (topic, log time in [ns], message)."""
        plugins = self.rosbag2.StoragePlugin
        with self.rosbag2.Writer(path, version=9, storage_plugin=plugins.SQLITE3 if sqlite
                                 else plugins.MCAP) as writer:
            connections = {}
            for topic, log_ns, message in sorted(messages, key=lambda entry: entry[1]):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(
                        topic, kind, typestore=self.store)
                writer.write(connections[topic], log_ns, self.store.serialize_cdr(message, kind))
            for key, value in (facts or {}).items():
                writer.set_custom_data(key, value)
        return path


@pytest.fixture(scope='session')
def bag_author() -> BagAuthor:
    """Return what writes bags of messages that are made of plain values."""
    return BagAuthor()
