"""Offline RL: begun at an imitation checkpoint, the same curve however often interrupted."""

from dataclasses import replace
import json

import numpy as np
import pytest
from safetensors.torch import load_file
import torch

pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')
pytest.importorskip('onnxscript', reason='onnxscript is not installed (extra train)')

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions
from chunked_vla_ros.core.types import CameraFrame, JointSample, Observation
from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy
from chunked_vla_ros.training.checkpoint import CheckpointError, read_policy
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.export import export_policy
from chunked_vla_ros.training.policy_critic import with_judge
from chunked_vla_ros.training.rl_batches import ChunkLoader
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_material import check_support, read_start
from chunked_vla_ros.training.rl_policies import make_critic
from chunked_vla_ros.training.train import run_training, TrainingError

RL = {'discount': 0.9, 'horizon': 3, 'critic_steps': 3, 'critic_width': 16, 'critic_layers': 1,
      'critic_heads': 2, 'candidates': 2, 'candidate_steps': 2, 'tabulate_every': 2,
      'redraw_every': 2, 'keep_fraction': 0.5, 'actor_every': 1}
CONFIG = {'steps': 6, 'batch_size': 4, 'warm_up_steps': 1, 'validate_every': 2,
          'checkpoint_every': 2, 'log_every': 1, 'seed': 5, 'ema_decay': 0.5, 'rl': RL}


@pytest.fixture(scope='session')
def make_rl_of(rl_material_of):
    """Return what makes the material of a small training by a method, ``key=value`` in place."""
    def make(method, *overrides, **more):
        return rl_material_of({'method': method, **CONFIG}, *overrides, **more)
    return make


def weights_of(folder):
    return {path.name: load_file(path) for path in sorted(folder.glob('*.safetensors'))}


def changed(before, after):
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def test_what_a_training_leaves_behind_is_exported_with_the_critic_in_the_graph(
        make_rl_of, imitation, tmp_path, told):
    outcome = run_training(make_rl_of('advantage'), tmp_path / 'out', False, told)
    assert (outcome.step, outcome.stopped) == (6, False)
    newest = newest_checkpoint(tmp_path / 'out')
    assert (newest / 'critic.safetensors').is_file()
    report = export_policy(newest, tmp_path / 'bundle', candidates=3)
    assert report.step == 6
    assert report.parity <= 1e-4
    bundle = read_bundle(tmp_path / 'bundle')
    about = bundle.manifest.training
    assert (about['candidates'], about['candidate_noise']) == ('3', '1')
    assert 'imitation stays the recommended policy' in about['support']
    robot = load_robot(read_policy(newest).config.robot)
    policy = OnnxPolicy(bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id, robot,
                        OnnxOptions(execution_provider='cpu'))
    plan = policy.plan(Observation(
        7, JointSample(7, robot.home, np.zeros(len(robot.joints))),
        {camera.name: CameraFrame(7, np.zeros(camera.frame_shape, np.uint8))
         for camera in robot.cameras}, 'lift it'))
    assert np.isfinite(plan.positions).all()
    assert (about['stage'], about['method']) == ('offline_rl', 'advantage')
    assert about['from'].startswith('2 steps of imitation, weights ')
    # What the policy's training held out, the next one holds out too.
    splits = [json.loads((root / 'split.json').read_text()) for root in (
        imitation, tmp_path / 'out')]
    assert splits[0] == splits[1]
    page = (tmp_path / 'out' / 'report.html').read_text()
    for words in ('imitation stays the recommended policy', 'Offline RL, advantage',
                  'The policy learnt from', 'What critic and policy learnt'):
        assert words in page
    history = json.loads((newest / 'history.json').read_text())
    assert history['training']['loss'] == told.losses
    assert [number is None for number in history['training']['critic/loss']] == (
        [False] * 3 + [True] * 3)
    # Nothing has changed for the first look to be worth it.
    assert history['validation']['step'] == [4, 6]


@pytest.mark.parametrize(('method', 'by_default'), [
    ('advantage', 1), ('qc', 2), ('co_rft', 1)])
def test_the_critic_of_a_training_judges_chunks_as_it_did(
        make_rl_of, tmp_path, told, method, by_default):
    run_training(make_rl_of(method), tmp_path / 'out', False, told)
    policy = read_policy(tmp_path / 'out')
    acting, count = with_judge(policy, 0)
    assert (count, acting is policy.vla) == (by_default, by_default == 1)
    acting, count = with_judge(policy, 5)
    # This policy acts from all of the noise, and nothing further may start from less.
    assert (count, policy.config.policy.noise_scale, acting.noise) == (5, 1.0, 1.0)
    quiet = replace(policy, config=replace(
        policy.config, policy=replace(policy.config.policy, noise_scale=0.0)))
    assert [with_judge(quiet, 5, *share)[0].noise for share in ((), (0.5,))] == [0.3, 0.5]
    weights = load_file(policy.folder / 'critic.safetensors')
    own = acting.judge.critic.state_dict()
    prefix = 'sarsa.critic.' if method == 'advantage' else 'critic.'
    assert own.keys() == {name.removeprefix(prefix) for name in weights
                          if name.startswith(prefix)}
    assert all(torch.equal(tensor, weights[f'{prefix}{name}']) for name, tensor in own.items())
    assert acting.judge.points == 3


@pytest.mark.parametrize(('method', 'overrides', 'line'), [
    ('co_rft', ('rl.head=deterministic',), 'has one answer to a question'),
    ('advantage', ('rl.features=live',), 'sees features of the policy that the training began'),
    ('advantage', ('rl.selection=all',), 'learnt from all of the demonstrations without a crit')])
def test_a_critic_that_cannot_choose_is_said_in_one_line(
        make_rl_of, tmp_path, told, method, overrides, line):
    run_training(make_rl_of(method, *overrides), tmp_path / 'out', False, told)
    policy = read_policy(tmp_path / 'out')
    assert with_judge(policy, 1) == (policy.vla, 1)
    with pytest.raises(CheckpointError, match=line):
        with_judge(policy, 2)


@pytest.mark.parametrize('features', ['cached', 'stopped'])
def test_the_critic_of_prefixes_chooses_inside_the_graph(make_rl_of, tmp_path, told, features):
    run_training(make_rl_of('co_rft', f'rl.features={features}'), tmp_path / 'out', False, told)
    assert export_policy(tmp_path / 'out', tmp_path / 'bundle', candidates=3).parity <= 1e-4
    assert read_bundle(tmp_path / 'bundle').manifest.training['candidates'] == '3'


def test_imitation_has_no_critic_to_choose_by(imitation):
    with pytest.raises(CheckpointError, match='is of imitation and has no critic'):
        with_judge(read_policy(imitation), 2)


@pytest.mark.parametrize(('method', 'overrides'), [
    ('advantage', ()), ('advantage', ('rl.selection=weigh',)), ('qc', ()), ('qc_fql', ()),
    # The policy's chunks are drawn anew in step 4 alone, and needed again in step 5.
    ('co_rft', ()), ('co_rft', ('rl.features=live', 'rl.critic_steps=2')),
    ('co_rft', ('rl.features=stopped', 'rl.critic_steps=2')),
    ('co_rft', ('rl.head=deterministic', 'rl.selection=weigh'))])
def test_gone_on_from_a_checkpoint_the_curve_is_the_same_to_the_last_bit(
        make_rl_of, imitation, tmp_path, told, method, overrides):
    run_training(make_rl_of(method, *overrides), tmp_path / 'whole', False, told)
    expected, told[:] = told.losses, []
    assert len(expected) == 6
    assert np.isfinite(expected).all()
    # At the end of the critic's own steps, then in the middle of the policy's.
    for steps in (3, 5):
        outcome = run_training(make_rl_of(method, *overrides), tmp_path / 'parts', True, told,
                               lambda steps=steps: len(told.losses) >= steps - 1)
        assert (outcome.step, outcome.stopped) == (steps, True)
        torch.manual_seed(1234)    # whatever was drawn in between
    run_training(make_rl_of(method, *overrides), tmp_path / 'parts', True, told)
    assert told.losses == expected
    whole, parts = (weights_of(newest_checkpoint(tmp_path / name)) for name in ('whole', 'parts'))
    assert whole.keys() == parts.keys()
    for file, tensors in whole.items():
        assert not changed(tensors, parts[file]), file
    before, after = (read_policy(folder).vla.state_dict()
                     for folder in (imitation, tmp_path / 'whole'))
    moved = changed(before, after)
    # On cached features only the action expert learns; QC leaves the policy as it is.
    assert bool(moved) == (method != 'qc')
    every = {'rl.features=live', 'rl.features=stopped'} & {*overrides}
    assert every or all(name.startswith('expert.') for name in moved)


def test_the_policy_moves_after_each_so_many_steps_of_the_critic(make_rl_of, tmp_path, told):
    run_training(make_rl_of('co_rft', 'rl.actor_every=2', 'steps=7', 'rl.critic_steps=3'),
                 tmp_path, False, told)
    history = json.loads((newest_checkpoint(tmp_path) / 'history.json').read_text())
    assert [number is not None for number in history['training']['actor/q']] == [
        False, False, False, False, True, False, True]
    assert None not in history['training']['critic/loss']


def test_a_control_asks_no_critic_and_learns_at_every_step(make_rl_of, tmp_path, told):
    run_training(make_rl_of('advantage', 'rl.selection=all'), tmp_path / 'whole', False, told)
    history = json.loads((newest_checkpoint(tmp_path / 'whole') / 'history.json').read_text())
    assert len(history['training']['loss_flow']) == 6
    assert None not in history['training']['loss_flow']
    assert 'critic/loss' not in history['training']
    expected, told[:] = told.losses, []
    run_training(make_rl_of('advantage', 'rl.selection=all'), tmp_path / 'parts', True, told,
                 lambda: len(told.losses) >= 2)
    run_training(make_rl_of('advantage', 'rl.selection=all'), tmp_path / 'parts', True, told)
    assert told.losses == expected


@pytest.mark.parametrize(('method', 'features', 'more'), [
    ('advantage', 'live', ()), ('co_rft', 'live', ()), ('co_rft', 'stopped', ()),
    ('co_rft', 'live', ('rl.head=deterministic',))])
def test_with_live_features_every_weight_learns(
        make_rl_of, imitation, tmp_path, told, method, features, more):
    run_training(make_rl_of(method, f'rl.features={features}', *more), tmp_path, False, told)
    before, after = (read_policy(folder).vla.state_dict() for folder in (imitation, tmp_path))
    moved = changed(before, after)
    for part in ('backbone.', 'waypoints.', 'expert.'):
        assert any(name.startswith(part) for name in moved), part


def test_a_deterministic_head_goes_into_the_bundle_as_it_was_trained(make_rl_of, tmp_path, told):
    run_training(make_rl_of('co_rft', 'rl.head=deterministic'), tmp_path / 'out', False, told)
    trained = read_policy(tmp_path / 'out')
    acting = trained.config.policy
    assert (acting.flow_steps, acting.noise_scale) == (1, 0.0)
    assert export_policy(tmp_path / 'out', tmp_path / 'bundle').parity <= 1e-4
    batch = make_rl_of('qc').rows
    images = [torch.from_numpy(batch.frames.read(np.array([3, 20]), 0))]
    state, words = torch.from_numpy(batch.state[[3, 20]]), torch.ones(2, 4, dtype=torch.int64)
    answers = [trained.vla.sample(images, state, words, words, torch.full((2, 4, 2), noise))
               for noise in (-1.0, 1.0)]
    assert torch.equal(*answers)


def refusal(make, *what, **more) -> str:
    with pytest.raises(ValueError) as refused:    # noqa: PT011
        make(*what, **more)
    assert '\n' not in str(refused.value)
    return str(refused.value)


def test_resuming_into_another_method_is_refused_and_the_differences_are_named(
        make_rl_of, imitation, make_material_of, tmp_path, told):
    run_training(make_rl_of('qc'), tmp_path, False, told)
    assert refusal(run_training, make_rl_of('advantage', 'rl.keep_fraction=0.3'), tmp_path, True,
                   told) == (
        f'{tmp_path}: its training has another configuration: method was qc, is advantage, '
        'rl.keep_fraction was 0.5, is 0.3; give it the same, or name another folder')
    assert 'method was imitation, is qc' in refusal(
        run_training, make_rl_of('qc'), imitation, True, told)
    assert 'method was qc, is imitation' in refusal(
        run_training, make_material_of(), tmp_path, True, told)


def test_resuming_from_another_checkpoint_is_refused(
        make_rl_of, make_material_of, tmp_path, told):
    run_training(make_material_of('steps=1'), tmp_path / 'other', False, told)
    run_training(make_rl_of('qc'), tmp_path / 'out', False, told)
    message = refusal(run_training, make_rl_of('qc', start=tmp_path / 'other'), tmp_path / 'out',
                      True, told)
    assert 'its training began at another checkpoint: 2 steps of imitation, weights ' in message
    assert 'then, 1 steps of imitation, weights ' in message


@pytest.mark.parametrize(('overrides', 'line'), [
    (['rl.discount=0'], 'rl.discount is 0, expected a number from 1e-06 to 1'),
    (['rl.discount=1.1'], 'rl.discount is 1.1, expected a number from 1e-06 to 1'),
    (['rl.horizon=5'], "rl.horizon is 5, expected no more than the chunk's points, horizon, 4"),
    (['rl.critic_steps=6'], 'rl.critic_steps is 6, expected less than steps, 6'),
    (['method=co_rft', 'rl.critic_heads=3'],
     'rl.critic_width is 16, expected a multiple of rl.critic_heads, 3'),
    (['policy.width=32'], 'its policy is another: policy.width was 16, is 32; leave these keys '),
    (['horizon=8'], 'its policy is another: horizon was 4, is 8; leave these keys out')])
def test_what_does_not_fit_is_one_line(make_rl_of, overrides, line):
    assert line in refusal(make_rl_of, 'advantage', *overrides)


@pytest.mark.parametrize(('method', 'override', 'line'), [
    ('qc', 'compile=true', 'compile is True, expected False for method qc'),
    ('qc_fql', 'rl.features=live', 'rl.features is live, expected cached for method qc_fql'),
    ('advantage', 'rl.features=stopped', 'is stopped, expected cached or live for method advant'),
    ('qc', 'rl.head=deterministic', 'rl.head is deterministic, which method co_rft takes: ')])
def test_what_offline_rl_does_not_do_is_refused(make_rl_of, tmp_path, told, method, override,
                                                line):
    def train():
        run_training(make_rl_of(method, override), tmp_path, False, told)

    assert line in refusal(train)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_of_imitation_is_no_beginning(make_rl_of, tmp_path, told):
    run_training(make_rl_of('qc'), tmp_path, False, told)
    assert refusal(make_rl_of, 'qc', start=tmp_path) == (
        f'{tmp_path}: is of method qc, expected a checkpoint of a training by imitation: offline '
        'RL begins there')


def test_data_of_other_joints_or_cameras_are_refused(make_rl_of, imitation):
    material = make_rl_of('qc')
    policy, config, rows = material.rl.start.policy, material.origin.config, material.rows
    for other, line in (
            (replace(rows, joint_names=('arm_joint',)),
             'its policy has 2 joints (arm_joint, finger_joint) and the data 1 (arm_joint)'),
            (replace(rows, cameras=()),
             'its policy has 1 cameras (front 32x32) and the data 0 (none)')):
        assert refusal(read_start, 'HERE', policy, config, other, ()).startswith(f'HERE: {line}')


def test_data_that_support_nothing_are_refused_unless_told_otherwise(make_rl_of):
    material = make_rl_of('advantage')
    config = material.origin.config
    check_support(material.rl.support, config)
    message = refusal(check_support, material.rl.support, replace(
        config, rl=replace(config.rl, accept_weak_data=False)))
    assert message.startswith('the data cannot support an improvement, imitation stays the ')
    assert message.endswith('; to train all the same set rl.accept_weak_data=true')


@pytest.mark.parametrize(('what', 'wrong', 'remedy'), [
    (('qc',), ['actions'], 'lower rl.critic_learning_rate'),
    (('co_rft', 'rl.critic_steps=1'), ['actions'],
     'lower rl.critic_learning_rate or learning_rate'),
    (('advantage', 'rl.selection=all', 'rl.features=live'), ['actions', 'waypoint'],
     'lower learning_rate')])
def test_what_is_no_number_stops_the_training_with_its_batch(
        make_rl_of, tmp_path, told, what, wrong, remedy):
    material = make_rl_of(*what)
    run_training(material, tmp_path, False, told, lambda: len(told.losses) >= 1)
    good = newest_checkpoint(tmp_path)
    action = material.rows.action
    action[:, 0] = np.nan
    try:
        with pytest.raises(TrainingError) as stopped:
            run_training(material, tmp_path, True, told)
    finally:
        action[:, 0] = 0.0
    assert str(stopped.value).startswith(
        f'loss is nan at step 2: stopped before the weights took it; its batch is in '
        f'{tmp_path / "nan_step_2"}, the last good checkpoint is {good};')
    assert str(stopped.value).endswith(f'; look at the data, or {remedy}')
    about = json.loads((tmp_path / 'nan_step_2' / 'batch.json').read_text())
    assert about['not_finite'] == wrong
    assert newest_checkpoint(tmp_path) == good


def test_values_are_a_probability_only_where_a_reward_ends_the_task(make_rl_of, tmp_path):
    material = make_rl_of('qc')
    of = material.rl.each.trajectories
    goes_on = of.rewards.copy()
    goes_on[of.starts[0]] = 0.5
    again = ChunkTransitions(replace(of, rewards=goes_on), 3, 0.5)
    assert again.returns_to_go().max() == 1.0    # what was recorded still lies in 0..1
    for chunks, kind in ((material.rl.chunks, ValueKind.UNIT), (again, ValueKind.FREE)):
        rl = replace(material.rl, chunks=chunks)
        assert Ground(replace(material, rl=rl), torch.device('cpu'), lambda standing: None,
                      tmp_path).kind is kind


def constant(critic, said):
    """Make each member of ``critic`` say the same whatever it sees; return the values of it."""
    last = critic.value if hasattr(critic, 'value') else critic.net
    weight = last.weight if hasattr(last, 'weight') else last.weights[-1]
    bias = last.bias if hasattr(last, 'bias') else last.biases[-1]
    with torch.no_grad():
        weight.zero_()
        bias.fill_(said)
    return 1.0 / (1.0 + np.exp(-said))


def cross_entropy(value, target):
    return -(target * np.log(value) + (1.0 - target) * np.log(1.0 - value))


@pytest.mark.parametrize('method', ['qc', 'qc_fql', 'co_rft'])
def test_what_a_critic_learns_is_what_the_equations_say(make_rl_of, tmp_path, method):
    material = make_rl_of(method, 'rl.conservative_weight=0.5', 'rl.success_repeats=2')
    config, device = material.origin.config, torch.device('cpu')
    ground = Ground(material, device, lambda standing: None, tmp_path)
    ground.make_candidates()
    critic = make_critic(config, ground)
    now, slow = constant(critic.critic, 0.4), constant(critic.target_critic, -0.7)
    critic.refresh(0)    # co_rft: tabulates what the slow one says
    batch = ChunkLoader(material.rows, material.rl.chunks, ground.features,
                        ground.frozen.scale).batch(np.arange(len(material.rl.chunks)))
    loss, numbers = critic.loss(batch, torch.Generator().manual_seed(0))
    found = material.rl.chunks.at(np.arange(len(material.rl.chunks)))
    targets = found.returns + found.bootstrap * slow
    if method == 'co_rft':
        to_go = material.rl.chunks.returns_to_go()[found.rows][:, None]
        raised = ((np.maximum(now, to_go) - now) * (found.counted & found.valid)).mean()
        expected = cross_entropy(now, targets).mean() + 0.5 * raised
    else:
        expected = cross_entropy(now, targets[:, -1]).mean()
    assert found.returns.max() == 1.0    # the success, where it is the first point
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(numbers['critic/target']) == pytest.approx(
        (targets if method == 'co_rft' else targets[:, -1]).mean(), rel=1e-5)
    if method == 'co_rft':    # each prefix bootstraps at the row behind it
        said = np.linspace(0.0, 1.0, len(critic.table.values), dtype=np.float32)
        critic.table.values.copy_(torch.from_numpy(said))
        numbers = critic.loss(batch, torch.Generator().manual_seed(0))[1]
        targets = found.returns + found.bootstrap * said[found.next_rows]
        assert float(numbers['critic/target']) == pytest.approx(targets.mean(), rel=1e-5)


def test_a_replan_period_that_changes_what_the_critic_judges_is_no_resume(
        make_rl_of, tmp_path, told):
    own = ('rl.horizon=0', 'replan_period_s=0.1')
    run_training(make_rl_of('qc', *own), tmp_path / 'out', False, told)
    with pytest.raises(TrainingError, match='points that the critic judges were 1, are 3 by repl'):
        run_training(
            make_rl_of('qc', 'rl.horizon=0', 'replan_period_s=0.3'), tmp_path / 'out', True, told)
