"""
What a bundle says of the policy in it: shape, statistics of its data, and where it comes from.

Asks git and pip for the version of this software. Knows no network and no ONNX.
"""

from __future__ import annotations

from datetime import datetime, timezone
import hashlib
import importlib.metadata
import json
import subprocess

from chunked_vla_ros.core.bundle_manifest import BundleManifest, Statistics
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.bundle_json import LONGEST_TEXT
from chunked_vla_ros.graph.installation import SOURCE_ROOT
from chunked_vla_ros.training.checkpoint import TrainedPolicy
from chunked_vla_ros.training.config import TrainConfig

PACKAGE = 'chunked_vla_ros'
GIT_LIMIT_S = 10.0


def manifest_of(policy: TrainedPolicy, name: str) -> BundleManifest:
    """Return the manifest of ``policy``, but for its files and what the export finds out."""
    shape, norm = policy.shape, policy.normalisation
    config = _written(policy.config)
    training = {
        **policy.provenance, 'step': str(policy.step),
        'config_sha256': config_sha256(policy.config),
        'exported_by': f'{PACKAGE} {importlib.metadata.version(PACKAGE)}'}
    # A text that is cut would be no JSON.
    if len(config) <= LONGEST_TEXT:
        training['config'] = config
    commit = source_commit()
    if commit:
        training['exported_at_commit'] = commit
    return BundleManifest(
        name=name, created=datetime.now(timezone.utc).isoformat(timespec='seconds'), files=(),
        joint_names=shape.joint_names, dim_kinds=shape.dim_kinds, horizon=shape.horizon,
        step_s=shape.step_s, replan_period_s=policy.config.replan_period_s,
        cameras=shape.cameras, needs_instruction=True,
        tokenizer=policy.tokenizer_spec,
        state_statistics=_statistics(
            norm.state_mean, norm.state_std, norm.state_min, norm.state_max),
        action_statistics=_statistics(
            norm.action_raw_mean, norm.action_raw_std, norm.action_min, norm.action_max),
        training={key: value[:LONGEST_TEXT] for key, value in training.items()})


def config_sha256(config: TrainConfig) -> str:
    """Return the hash by which a bundle names the configuration of its training."""
    return hashlib.sha256(_written(config).encode()).hexdigest()


def _written(config: TrainConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True)


def source_commit() -> str:
    """Return the commit of this software, '-dirty' behind it; '' outside of a git checkout."""
    if not (SOURCE_ROOT / '.git').exists():
        return ''
    try:
        commit, changes = (
            subprocess.run(
                ['git', '-C', str(SOURCE_ROOT), *words], capture_output=True, text=True,
                check=True, timeout=GIT_LIMIT_S).stdout.strip()
            for words in (('rev-parse', 'HEAD'),
                          ('status', '--porcelain', '--untracked-files=no')))
    except (OSError, subprocess.SubprocessError):
        return ''
    return f'{commit}-dirty' if changes else commit


def _statistics(mean: FloatArray, std: FloatArray, low: FloatArray,
                high: FloatArray) -> Statistics:
    return Statistics(*(tuple(values.tolist()) for values in (mean, std, low, high)))
