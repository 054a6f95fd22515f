"""
From a checkpoint to a bundle that drives an arm: one ONNX graph, held against the network.

Nothing is written unless the graph answers as the network does. Knows no command line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import json
from pathlib import Path

from safetensors.torch import save
from torch.onnx import OnnxExporterError

from chunked_vla_ros.core.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleManifest,
    MODEL_FILE,
)
from chunked_vla_ros.data.bundle_json import LARGEST_FILE, write_manifest
from chunked_vla_ros.data.policy_bundle import write_bundle
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.policies.onnx_file import check_self_contained
from chunked_vla_ros.training.best_of_n import BestOfN
from chunked_vla_ros.training.checkpoint import read_policy, TrainedPolicy
from chunked_vla_ros.training.export_graph import to_onnx
from chunked_vla_ros.training.export_manifest import manifest_of
from chunked_vla_ros.training.export_parity import compare, drawn_questions, seen_questions
from chunked_vla_ros.training.policy_critic import with_judge
from chunked_vla_ros.training.rl_config import CANDIDATE_NOISE, IMITATION
from chunked_vla_ros.training.vla import Vla

# In the joints' units, [rad] for most: a thousandth of what an arm's joints repeat to.
LARGEST_DIFFERENCE = 1e-4
LONGEST_REASON = 300
WEIGHTS_FILE, DESCRIPTION_FILE = 'weights.safetensors', 'weights.json'


class ExportError(ValueError):
    """A policy cannot be exported; the message is one line with the number and the remedy."""


@dataclass(frozen=True)
class ExportReport:
    """
    What was written.

    :ivar step: Of the training that the policy comes from.
    :ivar size_bytes: Of ``policy.onnx``.
    :ivar parity: Largest difference between graph and network, in the joints' units.
    :ivar observations: How many both were shown, and of what: 'seen' or 'drawn'.
    """

    bundle: str
    policy_id: str
    step: int
    parameters: int
    size_bytes: int
    parity: float
    observations: str


def export_policy(checkpoint: str | Path, bundle_dir: str | Path, name: str = '',
                  with_weights: bool = False, rows: TrainingRows | None = None,
                  candidates: int = 0,
                  candidate_noise: float = CANDIDATE_NOISE) -> ExportReport:
    """
    Write the policy of ``checkpoint`` as a bundle to the new folder ``bundle_dir``.

    :param checkpoint: A checkpoint, or the folder of a training: then its newest one.
    :param name: Of the bundle; '': that of its folder.
    :param with_weights: Put the weights beside the graph, for further training.
    :param rows: Where observations for the comparison come from; ``None``: they are drawn.
    :param candidates: Chunks that it makes to do the best of them, as of `with_judge`, with
        ``candidate_noise``.
    :raises CheckpointError: the checkpoint cannot be read.
    :raises BundleError: the bundle would be refused, or its folder is taken.
    :raises ExportError: the policy is too large, or graph and network differ.
    """
    target = Path(bundle_dir)
    if target.exists() or target.is_symlink():
        raise BundleError(f'{target}: exists already, expected a new directory')
    policy = read_policy(checkpoint)
    return export_trained(
        policy, target, name, with_weights, rows, candidates, candidate_noise)


def export_trained(policy: TrainedPolicy, target: Path, name: str = '',
                   with_weights: bool = False, rows: TrainingRows | None = None,
                   candidates: int = 0,
                   candidate_noise: float = CANDIDATE_NOISE) -> ExportReport:
    """Write ``policy`` as `export_policy` does."""
    acting, count = with_judge(policy, candidates, candidate_noise)
    parameters = sum(weights.numel() for weights in acting.parameters())
    _check_size(parameters, LARGEST_FILE)
    manifest = manifest_of(policy, name or target.absolute().name)
    _check_early(manifest)
    questions = (drawn_questions(policy, count) if rows is None else
                 seen_questions(policy, rows, count))
    try:
        model = to_onnx(acting, policy.config.imitation.max_delay_steps, count)
    except OnnxExporterError as error:
        raise ExportError(
            f'backbone {policy.config.policy.backbone} cannot be exported: '
            f'{" ".join(str(error.__cause__ or error).split())[:LONGEST_REASON]}') from error
    check_self_contained(model)
    parity = compare(policy, acting, manifest, model, questions)
    # Written so that NaN does not pass.
    if not parity.largest <= LARGEST_DIFFERENCE:
        raise ExportError(
            f'{target}: graph and network differ by {parity.largest:.1e} on {parity.questions} '
            f'observations, expected at most {LARGEST_DIFFERENCE:g}; nothing was written: train '
            'it again if its loss was not finite, else report it as a fault')
    observations = f'{parity.questions} {"drawn" if rows is None else "seen"}'
    manifest = replace(manifest, training={
        **manifest.training, **_control(policy),
        'parameters': str(parameters), **_choosing(acting, count),
        'parity': f'{parity.largest:.1e} on {observations} observations'})
    files = {MODEL_FILE: model, policy.tokenizer_spec.file: policy.tokenizer}
    if with_weights:
        files |= _weights(policy)
    bundle = write_bundle(target, manifest, files)
    return ExportReport(
        str(target), bundle.policy_id, policy.step, parameters, len(model), parity.largest,
        observations)


def _control(policy: TrainedPolicy) -> dict[str, str]:
    """
    Return how long critic and policy of offline RL learnt: what a control is told by.

    It has 0 steps of a critic, and no fewer updates than what it controls.
    """
    config = policy.config
    if config.method == IMITATION:
        return {}
    return {'critic_steps': str(config.critic_steps),
            'policy_updates': str(config.policy_updates(policy.step))}


def _choosing(acting: Vla | BestOfN, count: int) -> dict[str, str]:
    """Return how many chunks are made, and of several how much they differ."""
    said = {'candidates': str(count)}
    return said | {'candidate_noise': f'{acting.noise:g}'} if isinstance(acting, BestOfN) else said


def _check_size(parameters: int, most: int) -> None:
    size = 4 * parameters
    if size > most:
        raise ExportError(
            f'the policy has {parameters / 1e6:.0f} M parameters, {size / 1e9:.1f} GB, more than '
            f'the {most / 1e9:.1f} GB of a bundle; choose a smaller backbone (policy.backbone: '
            'compact, efficientnet_lite0): running a larger one from its checkpoint is not there '
            'yet')


def _check_early(manifest: BundleManifest) -> None:
    """Find out before the long part whether the bundle would be refused."""
    names = [MODEL_FILE, *([manifest.tokenizer.file] if manifest.tokenizer else [])]
    write_manifest(replace(manifest, files=tuple(
        BundleFile(name, '0' * 64, 0) for name in names)))


def _weights(policy: TrainedPolicy) -> dict[str, bytes]:
    said = {'step': policy.step, 'config': policy.config.to_dict(),
            'shape': policy.shape.to_dict(), 'normalisation': policy.normalisation.to_dict()}
    return {WEIGHTS_FILE: save(dict(policy.vla.state_dict())),
            DESCRIPTION_FILE: (json.dumps(said, indent=2) + '\n').encode()}
