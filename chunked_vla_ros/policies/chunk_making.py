"""
Make the chunk that is published of a policy's plan: stamped, numbered and named.

Knows no clock and no ROS; every time comes from the observation that was planned on.
"""

from __future__ import annotations

import numpy as np

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.core.policy_run import PolicyRun
from chunked_vla_ros.core.types import ActionChunk, NS_PER_S
from chunked_vla_ros.policies.runner_records import RunnerSettings
from chunked_vla_ros.policies.worker import PlanAnswer


def make_chunk(run: PolicyRun, spec: PolicySpec, plan: ActionPlan, answer: PlanAnswer,
               settings: RunnerSettings) -> ActionChunk:
    """Return the next chunk of ``run``: ``plan``, an ``answer`` of the policy of ``spec``."""
    observation = answer.request.observation
    stamps = [frame.stamp_ns for frame in observation.images.values()]
    step_ns = round(spec.step_s * NS_PER_S)
    return ActionChunk(
        session_id=run.session_id, chunk_id=run.next_chunk_id,
        start_ns=observation.stamp_ns, observation_ns=max([observation.stamp_ns, *stamps]),
        valid_for_ns=round(settings.valid_for_s * NS_PER_S),
        joint_names=spec.joint_names, positions=plan.positions,
        offsets_ns=step_ns * np.arange(len(plan.positions), dtype=np.int64),
        dim_kinds=spec.dim_kinds, policy_epoch=run.policy_epoch,
        inference_latency_ns=answer.latency_ns, task=run.task, policy_id=spec.policy_id)
