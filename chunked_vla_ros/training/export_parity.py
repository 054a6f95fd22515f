"""
Does the exported graph answer as the trained network does? Both are asked the same questions.

Questions are observations of a dataset where there is one, else drawn ones with the statistics of
the training data. The graph runs as in the inference node. Knows nothing about checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from chunked_vla_ros.core.bundle_manifest import BundleManifest
from chunked_vla_ros.core.training_windows import episode_of
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.policies.execution_provider import open_session
from chunked_vla_ros.policies.model_binding import (
    image_input,
    MASK,
    ModelBinding,
    NOISE,
    PREFIX,
    PREFIX_MASK,
    STATE,
    TOKENS,
)
from chunked_vla_ros.training.best_of_n import BestOfN
from chunked_vla_ros.training.checkpoint import TrainedPolicy
from chunked_vla_ros.training.export_graph import graph_inputs, Inference
from chunked_vla_ros.training.tokenizer import encode_instructions
from chunked_vla_ros.training.vla import Vla

QUESTIONS, SEED = 8, 0
# By input of the graph, in its order.
Question = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """
    How far the graph's answers are from the network's.

    :ivar largest: Largest difference of a target, in the joints' units; NaN if one is NaN.
    :ivar questions: How many observations both were shown.
    """

    largest: float
    questions: int


def drawn_questions(policy: TrainedPolicy, candidates: int = 1) -> list[Question]:
    """
    Return questions that nobody has seen: noise for images, states as in the training data.

    :param candidates: Chunks that the graph makes at once.
    """
    random = np.random.default_rng(SEED)
    shape, norm = policy.shape, policy.normalisation
    questions = []
    for index in range(QUESTIONS):
        question = _empty(policy, candidates)
        for camera in shape.cameras:
            question[image_input(camera.name)] = random.integers(
                0, 256, (1, *camera.frame_shape), np.uint8)
        state = norm.state_mean + norm.state_std * random.standard_normal(len(norm.state_mean))
        words = int(random.integers(1, shape.token_length + 1))
        question[STATE][0] = state
        question[TOKENS][0, :words] = random.integers(0, shape.vocabulary, words)
        question[MASK][0, :words] = 1
        question[NOISE] = random.standard_normal(question[NOISE].shape, np.float32)
        _commit(question, index, policy, np.repeat(state[None], shape.horizon, axis=0))
        questions.append(question)
    return questions


def seen_questions(policy: TrainedPolicy, rows: TrainingRows,
                   candidates: int = 1) -> list[Question]:
    """
    Return questions that are observations of ``rows``, from all over them.

    :param candidates: Chunks that the graph makes at once.
    :raises ValueError: one line: the rows have other joints or cameras than the policy.
    """
    shape = policy.shape
    for what, ours, theirs in (('joints', shape.joint_names, rows.joint_names),
                               ('cameras', shape.cameras, rows.cameras)):
        if ours != theirs:
            raise ValueError(f'{rows.episode_ids[0]} has {what} {theirs}, the policy was trained '
                             f'with {ours}; name a dataset of the same robot')
    windows = rows.windows(shape.horizon, shape.step_s)
    random = np.random.default_rng(SEED)
    tokens, masks = encode_instructions(
        policy.tokenizer, policy.tokenizer_spec, rows.instructions)
    questions = []
    count = min(QUESTIONS, len(windows))
    for index, which in enumerate(np.linspace(0, len(windows) - 1, count).astype(np.int64)):
        row = windows.rows[[which]]
        said = rows.instruction_of[episode_of(row, rows.episode_starts)]
        question = _empty(policy, candidates)
        for number, camera in enumerate(shape.cameras):
            question[image_input(camera.name)] = rows.frames.read(row, number)
        question[STATE] = rows.state[row].astype(np.float32)
        question[TOKENS], question[MASK] = tokens[said], masks[said]
        question[NOISE] = random.standard_normal(question[NOISE].shape, np.float32)
        _commit(question, index, policy, rows.action[windows.action_rows(np.array([which]))[0]])
        questions.append(question)
    return questions


def compare(policy: TrainedPolicy, acting: Vla | BestOfN, manifest: BundleManifest, model: bytes,
            questions: Sequence[Question]) -> Parity:
    """
    Ask the network and the graph ``model`` all ``questions``.

    :param acting: The network that the graph was made of.
    :raises BundleError: if the graph is not one that the inference node would run.
    """
    network = Inference(acting, policy.config.imitation.max_delay_steps).eval()
    binding = ModelBinding(open_session(model, 'cpu').session, manifest)
    largest = 0.0
    for question in questions:
        with torch.inference_mode():
            by_torch = network(*map(torch.from_numpy, question.values())).numpy()[0]
        # NaN must stay, whichever of both is first.
        difference = float(np.abs(by_torch - _ask(binding, question)).max())
        largest = difference if np.isnan(difference) else max(largest, difference)
        if np.isnan(largest):
            break
    return Parity(largest, len(questions))


def _empty(policy: TrainedPolicy, candidates: int) -> Question:
    takes_prefix = policy.config.imitation.max_delay_steps > 0
    return {name: zeros.numpy().copy() for name, zeros in graph_inputs(
        policy.shape, takes_prefix=takes_prefix, candidates=candidates).items()}


def _commit(question: Question, index: int, policy: TrainedPolicy,
            actions: NDArray[Any]) -> None:
    """Let the ``index``-th question continue so many of ``actions`` (H, J), if it can."""
    if PREFIX in question:
        rows = index % (policy.config.imitation.max_delay_steps + 1)
        question[PREFIX][0] = actions
        question[PREFIX_MASK][0, :rows] = 1.0


def _ask(binding: ModelBinding, question: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    images = {}
    inputs: dict[str, NDArray[Any] | None] = {
        STATE: binding.state, TOKENS: binding.tokens, MASK: binding.mask, NOISE: binding.noise,
        PREFIX: binding.prefix, PREFIX_MASK: binding.prefix_mask}
    for name, value in question.items():
        buffer = inputs.get(name)
        if buffer is None:
            images[name] = value[0]
        else:
            buffer[:] = value
    return binding.run(images)
