"""
Every policy by its name: a plain table of functions that make one.

What a policy needs is imported when that policy is asked for, so that a robot without a simulator
or without a learning framework runs the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.core.retarget import retarget
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.policies.replay import ReplayPolicy
from chunked_vla_ros.sim.quality_dial import EVEN

EXECUTION_PROVIDERS = ('auto', 'cpu', 'cuda', 'tensorrt')


class PolicyUnavailable(ValueError):
    """A policy cannot be made; the message is one line that says what is missing."""


@dataclass(frozen=True)
class PolicyOptions:
    """
    What policies are made from; each says in its own function what it takes.

    :ivar demonstration: Recording for 'replay'.
    :ivar replay_rate_hz: Points per second of the chunks of 'replay'.
    :ivar replay_cameras: Whether 'replay' waits for every camera of the contract.
    :ivar expert_noise: How imperfect 'expert' is, 0 to 1; see `sim.expert_noise`.
    :ivar expert_pushes_per_minute: How often 'expert' is disturbed.
    :ivar expert_quality: One of `sim.quality_dial.QUALITIES`.
    :ivar expert_seed: Of all three.
    :ivar replay_moved: Whether 'replay' may take the recording of another robot.
    :ivar bundle: Directory of the policy bundle for 'onnx'.
    :ivar execution_provider: One of `EXECUTION_PROVIDERS`.
    :ivar episode: Of a dataset, for 'replay'; -1: its first one.
    :ivar intra_op_threads: Threads of one operator of the model; 0: the runtime decides.
    """

    demonstration: str = ''
    replay_rate_hz: float = 20.0
    bundle: str = ''
    execution_provider: str = 'auto'
    intra_op_threads: int = 0
    episode: int = -1
    replay_cameras: bool = False
    replay_moved: bool = False
    expert_noise: float = 0.0
    expert_pushes_per_minute: float = 0.0
    expert_seed: int = 0
    expert_quality: str = EVEN


def _replay(robot: RobotSpec, options: PolicyOptions) -> Policy:
    if not options.demonstration:
        raise PolicyUnavailable(
            "policy 'replay' needs the parameter demonstration: a .npy recording or a directory")
    step_s = 1.0 / options.replay_rate_hz
    demonstration = load_demonstration(
        options.demonstration, None if options.episode < 0 else options.episode)
    cameras = tuple(camera.name for camera in robot.cameras) if options.replay_cameras else ()
    made = retarget(demonstration, robot, step_s=step_s)
    if made.moved and not options.replay_moved:
        raise PolicyUnavailable(
            f'{demonstration.source} is not of {robot.name}: no joint of that name; allow it to '
            "be moved to this robot's home pose by the parameter replay_moved")
    return ReplayPolicy(robot, made.motion, step_s=step_s, cameras=cameras, origin={
        'replay_moved': str(made.moved).lower(), 'replay_time_scale': f'{made.time_scale:.3f}',
        'replay_joints_held': ', '.join(made.held) or 'none',
        'replay_smoothing_rad': f'{made.smoothing_deviation_rad:.5f}'})


def _expert(robot: RobotSpec, options: PolicyOptions) -> Policy:
    if options.demonstration:
        raise PolicyUnavailable("policy 'expert' takes no demonstration; use policy 'replay'")
    try:
        from chunked_vla_ros.sim.expert import ScriptedExpert
        from chunked_vla_ros.sim.expert_noise import NoiseDial, NoisyExpert
        from chunked_vla_ros.sim.uneven_expert import UnevenExpert
    except ImportError as error:
        raise PolicyUnavailable(
            f"policy 'expert' plans with the simulator's kinematics: {error}; install the "
            "extra 'sim'") from error
    scripted = ScriptedExpert(robot)
    expert: Policy = scripted if options.expert_quality == EVEN else UnevenExpert(
        scripted, robot, options.expert_quality, options.expert_seed)
    dial = NoiseDial(options.expert_noise, options.expert_pushes_per_minute, options.expert_seed)
    return expert if dial.is_zero else NoisyExpert(expert, robot, dial)


def _onnx(robot: RobotSpec, options: PolicyOptions) -> Policy:
    if not options.bundle:
        raise PolicyUnavailable(
            "policy 'onnx' needs the parameter bundle: the directory of a policy bundle")
    try:
        from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy
    except ImportError as error:
        raise PolicyUnavailable(
            f"policy 'onnx' runs on ONNX Runtime: {error}; install the extra 'cpu' or 'gpu'"
        ) from error
    from chunked_vla_ros.data.policy_bundle import read_bundle
    bundle = read_bundle(options.bundle)
    policy = OnnxPolicy(
        bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id, robot,
        OnnxOptions(options.execution_provider, options.intra_op_threads))
    policy.warm_up()
    return policy


POLICIES: dict[str, Callable[[RobotSpec, PolicyOptions], Policy]] = {
    'replay': _replay, 'expert': _expert, 'onnx': _onnx}


def make_policy(name: str, robot: RobotSpec, options: PolicyOptions = PolicyOptions()) -> Policy:
    """
    Return the policy called ``name`` for ``robot``: read, checked and warmed up.

    :raises PolicyUnavailable: unknown name, or something it needs is missing.
    :raises ValueError: from reading or checking what it is made from, one line.
    """
    if name not in POLICIES:
        raise PolicyUnavailable(f'policy {name!r}, expected one of {", ".join(POLICIES)}')
    return POLICIES[name](robot, options)
