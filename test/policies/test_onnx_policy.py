"""The policy of a bundle: its plan is the model's, and what does not fit is found beforehand."""

from dataclasses import replace
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleCamera, BundleError, TokenizerSpec
from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.core.types import CameraFrame, JointSample, Observation
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy
from chunked_vla_ros.policies.worker import PlanRequest, PolicyWorker

onnx = pytest.importorskip('onnx')

# Of the generated model (test/conftest.py): per full brightness, per token id, per point.
IMAGE_GAIN, TOKEN_GAIN, RAMP = 0.5, 0.25, 0.01
GO, LEFT, UNKNOWN = 2, 3, 1
BRIGHTNESS = 51    # a fifth of 255


@pytest.fixture
def open_policy(tmp_path, robot, make_bundle):
    """Return a function: the policy of a bundle with three points 0.05 s apart."""
    def make(options=None, robot=robot, **bundle):
        made = make_bundle(tmp_path / 'bundle', robot, **{'horizon': 3, **bundle})
        return OnnxPolicy(made.manifest, made.model, made.tokenizer, made.policy_id, robot,
                          options or OnnxOptions(execution_provider='cpu'))
    return make


def seen(instruction='', arm=0.1, pixels=None):
    """Return an observation with the arm at ``arm``, the finger at 0.4 and a grey image."""
    if pixels is None:
        pixels = np.full((2, 2, 3), BRIGHTNESS, np.uint8)
    return Observation(7, JointSample(7, np.array([arm, 0.4]), np.zeros(2)),
                       {'wrist': CameraFrame(7, pixels)}, instruction)


def expected(tokens=0, arm=0.1, brightness=BRIGHTNESS / 255):
    """Compute in numpy what the model computes, shape (3, 2)."""
    return np.array([arm, 0.4]) + IMAGE_GAIN * brightness + TOKEN_GAIN * tokens + RAMP * \
        np.array([[1], [2], [3]])


def test_the_plan_is_what_the_model_computes(open_policy):
    policy = open_policy()
    plan = policy.plan(seen('go left'))
    assert plan.positions == pytest.approx(expected(GO + LEFT), abs=1e-6)
    assert plan.positions[0, 0] == pytest.approx(0.1 + 0.1 + 1.25 + 0.01, abs=1e-6)
    assert policy.spec.horizon == 3
    assert policy.spec.cameras == ('wrist',)


def test_a_plan_stays_as_it_was_when_the_next_one_is_made(open_policy):
    policy = open_policy()
    first = policy.plan(seen(arm=0.1))
    second = policy.plan(seen(arm=0.2))
    assert second.positions - first.positions == pytest.approx(
        np.array([[0.1, 0.0]] * 3), abs=1e-6)


def test_an_image_that_is_a_view_of_another_is_read_right(open_policy):
    mirrored = (np.arange(24) ** 2 % 251).astype(np.uint8).reshape(4, 2, 3)[::2, ::-1]
    plan = open_policy().plan(seen(pixels=mirrored))
    assert plan.positions == pytest.approx(expected(brightness=mirrored.mean() / 255), abs=1e-6)


@pytest.mark.parametrize(('instruction', 'tokens'), [
    ('', 0), ('go', GO), ('GO  left', GO + LEFT), ('go sideways', GO + UNKNOWN),
    ('go go go go left left', 4 * GO)])
def test_the_instruction_becomes_tokens_that_are_filled_up_and_cut_off(
        open_policy, instruction, tokens):
    assert open_policy().plan(seen(instruction)).positions == pytest.approx(
        expected(tokens), abs=1e-6)


def test_a_changed_instruction_changes_the_plan_and_a_shorter_one_leaves_no_rest(open_policy):
    policy = open_policy()
    for instruction, tokens in (('go left left', GO + 2 * LEFT), ('go', GO), ('go', GO)):
        assert policy.plan(seen(instruction)).positions == pytest.approx(
            expected(tokens), abs=1e-6)


def test_padding_is_masked_out(open_policy):
    policy = open_policy(tokenizer=TokenizerSpec('tokenizer.json', 4, pad_id=9))
    assert policy.plan(seen('go')).positions == pytest.approx(expected(GO), abs=1e-6)


def test_a_policy_that_must_be_told_what_to_do_refuses_to_guess(open_policy):
    policy = open_policy(needs_instruction=True)
    with pytest.raises(PolicyError, match='needs an instruction, got an empty one'):
        policy.plan(seen('  '))
    policy.warm_up()


def test_a_bundle_without_words_and_cameras_needs_neither(open_policy):
    policy = open_policy(tokenizer=None, cameras=())
    plan = policy.plan(Observation(0, JointSample(0, np.array([0.1, 0.4]), np.zeros(2))))
    assert plan.positions == pytest.approx(expected(brightness=0.0), abs=1e-6)


def test_noise_differs_from_plan_to_plan_and_repeats_from_reset_to_reset(open_policy):
    policy = open_policy(OnnxOptions(execution_provider='cpu', seed=5), noise=True)
    assert policy.has_noise
    first, second = (policy.plan(seen()).positions for _ in range(2))
    assert not np.array_equal(first, second)
    policy.reset()
    assert np.array_equal(policy.plan(seen()).positions, first)
    drawn = np.random.default_rng(5).standard_normal((1, 3, 2), np.float32)
    assert first == pytest.approx(expected() + drawn[0], abs=1e-6)


def test_a_model_that_chooses_among_chunks_is_given_noise_for_each(open_policy):
    policy = open_policy(OnnxOptions(execution_provider='cpu', seed=5), noise=4)
    drawn = np.random.default_rng(5).standard_normal((4, 3, 2), np.float32)
    assert policy.plan(seen()).positions == pytest.approx(expected() + drawn.max(0), abs=1e-6)


def test_warming_up_leaves_no_trace(open_policy):
    policy = open_policy(noise=True)
    first = policy.plan(seen()).positions
    policy.reset()
    policy.warm_up()
    assert np.array_equal(policy.plan(seen()).positions, first)


def test_warming_up_is_no_answer_and_not_counted_as_latency(open_policy):
    policy = open_policy()
    policy.warm_up()
    answered = threading.Semaphore(0)
    worker = PolicyWorker(policy, answered.release)
    assert worker.answers() == []
    asked_ns = time.monotonic_ns()
    worker.ask(PlanRequest('5e', 0, seen()))
    assert answered.acquire(timeout=10.0)
    [answer] = worker.answers()
    assert 0 < answer.latency_ns <= time.monotonic_ns() - asked_ns
    assert worker.stop()


def test_warming_up_finds_a_model_whose_answers_are_no_numbers(open_policy):
    with pytest.raises(BundleError, match='its actions are not finite at the home pose'):
        open_policy(nan_above=0.4).warm_up()    # the arm's home is 0.5


def test_nan_of_a_real_model_is_blocked_at_the_source_and_the_worker_goes_on(open_policy):
    policy = open_policy(nan_above=0.6)
    policy.warm_up()
    answered = threading.Semaphore(0)
    worker = PolicyWorker(policy, answered.release)
    answers = []
    for arm in (0.5, 0.7, 0.5):
        worker.ask(PlanRequest('5e', 0, seen(arm=arm)))
        assert answered.acquire(timeout=10.0)
        answers += worker.answers()
    assert worker.stop()
    assert [(answer.blocked, answer.plan is None) for answer in answers] == [
        ('', False), ('not finite', True), ('', False)]


@pytest.mark.parametrize(('images', 'message'), [
    ({}, "no image of camera 'wrist'"),
    ({'wrist': CameraFrame(0, np.zeros((2, 3, 3), np.uint8))},
     r"image of camera 'wrist' has shape \(2, 3, 3\), expected \(2, 2, 3\)")])
def test_an_observation_that_lacks_something_is_refused(open_policy, images, message):
    with pytest.raises(PolicyError, match=message):
        open_policy().plan(replace(seen(), images=images))


def test_a_bundle_for_another_robot_is_refused_before_its_model_is_opened(open_policy):
    with pytest.raises(BundleError, match="joint 'arm' is missing in the bundle"):
        open_policy(joint_names=('elbow', 'finger'), model=b'never opened')


def refused(robot, make_manifest, model, **fields):
    """Return why ``model`` is refused, which must be one line."""
    with pytest.raises(BundleError) as caught:
        OnnxPolicy(make_manifest(robot, **{'horizon': 3, 'tokenizer': None, **fields}), model,
                   None, 'small@0', robot, OnnxOptions(execution_provider='cpu'))
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(('made_with', 'message'), [
    ({'horizon': 4}, "output 'actions' is tensor(float) [1, 4, 2], expected tensor(float) [1, 3"),
    ({'cameras': ()}, "policy.onnx has no input 'image.wrist'"),
    ({'cameras': (BundleCamera('wrist', 2, 4),)},
     "input 'image.wrist' is tensor(uint8) [1, 4, 2, 3], expected tensor(uint8)"),
    ({'cameras': (BundleCamera('top', 2, 2),)}, "unknown input 'image.top', expected state,"),
    ({'tokenizer': TokenizerSpec('tokenizer.json', 4, 0)}, "unknown input 'tokens'")])
def test_a_model_that_is_not_what_its_manifest_says_is_refused(
        tmp_path, robot, make_manifest, make_bundle, made_with, message):
    model = make_bundle(
        tmp_path / 'b', robot, **{'horizon': 3, 'tokenizer': None, **made_with}).model
    assert message in refused(robot, make_manifest, model)


def free_width(graph):
    shape_of(graph.input[0]).dim[1].dim_param = 'J'


def double_state(graph):
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def second_output(graph):
    graph.output.append(onnx.helper.make_tensor_value_info('extra', onnx.TensorProto.FLOAT, [1]))
    graph.node.add(op_type='Identity', input=['state'], output=['extra'])


@pytest.mark.parametrize(('edit', 'message'), [
    (free_width, "input 'state' is tensor(float) [1, 'J'], expected tensor(float) [1, 2]"),
    (second_output, "unknown output 'extra', expected actions"),
    (double_state, 'cannot be loaded')])
def test_inputs_and_outputs_are_fixed(
        tmp_path, robot, make_manifest, make_bundle, edit, message):
    graph = onnx.load_from_string(make_bundle(
        tmp_path / 'b', robot, horizon=3, tokenizer=None).model)
    edit(graph.graph)
    assert message in refused(robot, make_manifest, graph.SerializeToString())


def shape_of(value):
    return value.type.tensor_type.shape


@pytest.mark.parametrize('count', [0, 257])
def test_noise_is_for_a_bounded_number_of_chunks(
        tmp_path, robot, make_manifest, make_bundle, count):
    graph = onnx.load_from_string(make_bundle(
        tmp_path / 'b', robot, horizon=3, tokenizer=None, noise=2).model)
    noise, = (given for given in graph.graph.input if given.name == 'noise')
    shape_of(noise).dim[0].dim_value = count
    said = refused(robot, make_manifest, graph.SerializeToString())
    assert "input 'noise' is tensor(float)" in said or 'cannot be loaded' in said


def test_the_batch_may_be_symbolic(tmp_path, robot, make_manifest, make_bundle):
    made = make_bundle(tmp_path / 'b', robot, horizon=3, tokenizer=None)
    graph = onnx.load_from_string(made.model)
    shape_of(graph.graph.input[0]).dim[0].dim_param = 'batch'
    policy = OnnxPolicy(made.manifest, graph.SerializeToString(), None, 'small@0', robot,
                        OnnxOptions(execution_provider='cpu'))
    assert policy.plan(seen()).positions == pytest.approx(expected(), abs=1e-6)


@pytest.mark.parametrize('model', [b'', b'weights', b'\x08\x09', b'\0' * 100])
def test_what_is_no_model_is_refused(robot, make_manifest, model):
    assert 'policy.onnx' in refused(robot, make_manifest, model)


def test_what_is_no_tokenizer_is_refused(tmp_path, robot, make_bundle):
    made = make_bundle(tmp_path / 'b', robot)
    with pytest.raises(BundleError, match=r'tokenizer.json is no tokenizer \('):
        OnnxPolicy(made.manifest, made.model, b'{}', made.policy_id, robot)


@pytest.mark.parametrize('location', ['canary.bin', '../run/canary.bin', '/etc/hostname'])
def test_external_data_is_refused_before_the_runtime_could_look_for_it(
        tmp_path, robot, make_manifest, make_bundle, monkeypatch, location):
    """Given bytes, ONNX Runtime takes the working directory for the model's; the file is there."""
    made = make_bundle(tmp_path / 'b', robot, horizon=3, tokenizer=None)
    graph = onnx.load_from_string(made.model)
    tensor = next(each for each in graph.graph.initializer if list(each.dims) == [1, 3, 1])
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'canary.bin').write_bytes(tensor.raw_data)
    monkeypatch.chdir(tmp_path / 'run')
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value=location)
    assert refused(robot, make_manifest, graph.SerializeToString()) == (
        'policy.onnx keeps weights in another file (external data); export it with '
        'external_data=False')


@pytest.mark.parametrize('choice', ['cuda', 'tensorrt'])
def test_a_provider_that_is_not_there_falls_back_and_says_so_in_one_line(open_policy, choice):
    onnxruntime = pytest.importorskip('onnxruntime')
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this build of onnxruntime has CUDA')
    policy = open_policy(OnnxOptions(execution_provider=choice))
    assert policy.provider == 'cpu'
    assert policy.provider_note.startswith(
        f'runs on cpu: {choice} is not in this build of onnxruntime')
    assert '\n' not in policy.provider_note
    policy.warm_up()


def test_auto_on_a_build_without_cuda_is_the_cpu_and_no_news(open_policy):
    policy = open_policy(OnnxOptions())
    if policy.provider == 'cpu':
        assert 'not in this build' not in policy.provider_note


def test_an_unknown_provider_is_refused(open_policy):
    with pytest.raises(BundleError, match="'tpu', expected one of auto, cpu, cuda, tensorrt"):
        open_policy(OnnxOptions(execution_provider='tpu'))


def test_the_policy_runs_where_onnx_is_not_installed():
    program = ("import sys; sys.modules['onnx'] = None; "
               'import chunked_vla_ros.policies.onnx_policy')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                            check=False, timeout=60)
    assert result.returncode == 0, result.stderr
