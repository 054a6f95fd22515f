"""
The policy of a bundle: its ONNX model run by ONNX Runtime.

Everything that can be wrong with the model is found when it is made and warmed up, not at the
first action. Takes the bundle's bytes, so it knows no files; no ROS and no clock either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.bundle_manifest import BundleError, BundleManifest
from chunked_vla_ros.core.policy import (
    ActionPlan,
    PolicyError,
    PolicySpec,
    REPLAN_PERIOD_S,
)
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.types import CameraFrame, FloatArray, JointSample, Observation
from chunked_vla_ros.policies.execution_provider import CHAINS, one_line, open_session
from chunked_vla_ros.policies.instruction_tokens import InstructionTokens
from chunked_vla_ros.policies.model_binding import image_input, ModelBinding
from chunked_vla_ros.policies.onnx_file import check_self_contained

# The first run allocates and, on a GPU, compiles; the second may still choose algorithms.
WARM_UP_RUNS = 3
WARM_UP_INSTRUCTION = 'warm up'


@dataclass(frozen=True)
class OnnxOptions:
    """How a bundle is run."""

    execution_provider: str = parameter(
        'auto', 'what the model runs on; what does not work here falls back and says so',
        choices=tuple(CHAINS))
    intra_op_threads: int = parameter(
        0, "threads of the model on the CPU; 0: ONNX Runtime's choice, one per core",
        minimum=0, maximum=256)
    seed: int = parameter(
        0, 'of the noise that a generative policy starts from', minimum=0, maximum=2**31 - 1)


class OnnxPolicy:
    """
    Answer observations by one run of the model each.

    :ivar provider: What the model runs on: 'cpu', 'cuda' or 'tensorrt'.
    :ivar provider_note: Why it is not the provider asked for, one line; empty if it is.
    """

    def __init__(self, manifest: BundleManifest, model: bytes, tokenizer: bytes | None,
                 policy_id: str, robot: RobotSpec, options: OnnxOptions | None = None) -> None:
        """
        Check bundle and model against each other and against ``robot``.

        :raises BundleError: one line that names the first thing that does not fit.
        """
        options = options or OnnxOptions()
        manifest.check_robot(robot)
        check_self_contained(model)
        self._manifest, self._home = manifest, robot.home
        self._tokens: InstructionTokens | None = None
        if manifest.tokenizer is not None:
            if tokenizer is None:
                raise BundleError(
                    f'bundle {manifest.name}: {manifest.tokenizer.file} was not read')
            self._tokens = InstructionTokens(manifest.tokenizer, tokenizer)
        opened = open_session(model, options.execution_provider, options.intra_op_threads)
        self.provider, self.provider_note = opened.provider, opened.note
        self._binding = ModelBinding(opened.session, manifest)
        self._seed = options.seed
        self._spec = PolicySpec(
            policy_id=policy_id, joint_names=manifest.joint_names, dim_kinds=manifest.dim_kinds,
            step_s=manifest.step_s, horizon=manifest.horizon,
            cameras=tuple(camera.name for camera in manifest.cameras),
            needs_instruction=manifest.needs_instruction,
            takes_committed=self._binding.prefix is not None,
            replan_period_s=manifest.replan_period_s or REPLAN_PERIOD_S)
        self.reset()

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is and needs."""
        return self._spec

    @property
    def training(self) -> Mapping[str, str]:
        """Return what the bundle says of where it comes from."""
        return self._manifest.training

    @property
    def has_noise(self) -> bool:
        """Return whether the model starts from noise, as generative policies do."""
        return self._binding.noise is not None

    def seed_noise(self, seed: int) -> None:
        """Let the noise begin from ``seed`` at this and every later reset."""
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Start the noise afresh, so that two runs on the same observations are the same."""
        self._random = np.random.default_rng(self._seed)

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the model's absolute joint targets.

        :raises PolicyError: if the observation lacks something or the model fails on it.
        """
        images = {}
        for camera in self._manifest.cameras:
            frame = observation.images.get(camera.name)
            if frame is None:
                raise PolicyError(f'no image of camera {camera.name!r}')
            if frame.pixels.shape != camera.frame_shape:
                raise PolicyError(f'image of camera {camera.name!r} has shape '
                                  f'{frame.pixels.shape}, expected {camera.frame_shape}')
            images[image_input(camera.name)] = frame.pixels
        if self._manifest.needs_instruction and not observation.instruction.strip():
            raise PolicyError(f'{self._spec.policy_id} needs an instruction, got an empty one')
        return ActionPlan(self._run(observation, images))

    def warm_up(self) -> None:
        """
        Run the model on black images at the home pose until it has allocated and compiled.

        :raises BundleError: if it fails, or answers with another shape or with no finite numbers.
        """
        joints = JointSample(0, self._home, np.zeros_like(self._home))
        images = {camera.name: CameraFrame(0, np.zeros(camera.frame_shape, np.uint8))
                  for camera in self._manifest.cameras}
        observation = Observation(0, joints, images, WARM_UP_INSTRUCTION)
        try:
            plans = [self.plan(observation) for _ in range(WARM_UP_RUNS)]
        except PolicyError as error:
            raise BundleError(
                f'bundle {self._manifest.name} fails to warm up: {error}') from error
        finally:
            self.reset()
        if not all(np.isfinite(plan.positions).all() for plan in plans):
            raise BundleError(
                f'bundle {self._manifest.name} fails to warm up: its actions are not finite at '
                'the home pose and black images; export it again')

    def _run(self, observation: Observation, images: dict[str, NDArray[np.uint8]]) -> FloatArray:
        binding = self._binding
        binding.state[0] = observation.joints.position
        if binding.noise is not None:
            self._random.standard_normal(dtype=np.float32, out=binding.noise)
        if self._tokens is not None:
            self._tokens.write(observation.instruction)
            binding.tokens[0], binding.mask[0] = self._tokens.tokens[0], self._tokens.mask[0]
        self._write_prefix(observation.committed)
        try:
            return binding.run(images).astype(np.float64)
        except Exception as error:
            raise PolicyError(f'the model failed: {one_line(error)}') from error

    def _write_prefix(self, committed: FloatArray | None) -> None:
        prefix, mask = self._binding.prefix, self._binding.prefix_mask
        if prefix is None or mask is None:
            return
        prefix.fill(0.0)
        mask.fill(0.0)
        if committed is not None:
            rows = committed[:self._manifest.horizon]
            prefix[0, :len(rows)] = rows
            mask[0, :len(rows)] = 1.0
