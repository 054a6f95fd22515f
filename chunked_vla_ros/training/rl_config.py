"""
The options of chunked offline RL; each default and bound has its home here. Imports no torch.

Legend of `method`: advantage filters or weighs demonstrations by a critic, qc keeps the policy and
trains a critic that chooses among its chunks, qc_fql distils the policy and follows that critic,
co_rft follows a critic of every prefix of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter

IMITATION, ADVANTAGE, CO_RFT, QC, QC_FQL = METHODS = (
    'imitation', 'advantage', 'co_rft', 'qc', 'qc_fql')
CACHED, LIVE, STOPPED = FEATURES = 'cached', 'live', 'stopped'
FLOW, DETERMINISTIC = HEADS = 'flow', 'deterministic'
KEEP, WEIGH, ALL, SUCCESSES, FASTEST = SELECTIONS = (
    'keep', 'weigh', 'all', 'successes', 'fastest')
# How a deterministic head acts, by the keys of `policy`: one Euler step, from no noise.
ONE_ANSWER = {'flow_steps': 1, 'noise_scale': 0.0}
# Share of the noise that a policy's further chunks start from, where a critic chooses among them
# as it acts. From all of it they repeat the demonstrators' slips, which a critic that is off by
# millimetres takes for skill: docs/results.md has both.
CANDIDATE_NOISE = 0.3
# They ask no critic: what a critic adds is measured against them.
CONTROLS = ALL, SUCCESSES, FASTEST
# Their policy follows the critic while that learns on.
CLIMBING = CO_RFT, QC_FQL
# The methods that a key is of, where not of all.
METHODS_OF = {
    **dict.fromkeys(('tabulate_every', 'selection', 'keep_fraction', 'temperature'),
                    (ADVANTAGE, CO_RFT)),
    **dict.fromkeys(('critic_heads', 'bc_weight', 'conservative_weight', 'literal_targets',
                     'target_noise'), (CO_RFT,)),
    **dict.fromkeys(('redraw_every', 'actor_every'), CLIMBING),
    'critic_steps': (ADVANTAGE, CO_RFT, QC_FQL), 'target_rate': (CO_RFT, QC, QC_FQL),
    'candidate_steps': (ADVANTAGE, QC, QC_FQL), 'alpha': (QC_FQL,)}


@dataclass(frozen=True)
class RlConfig:
    """How a policy gets better than its demonstrations by their rewards."""

    reward: str = parameter(
        'auto', 'where rewards come from: 1 for the step that succeeds, recorded ones, or the '
        'recorded ones if any is not 0', choices=('auto', 'recorded', 'success'))
    failures_end: bool = parameter(
        False, 'a labelled failure is worth nothing from its last row on; else it was cut off')
    discount: float = parameter(
        0.995, 'of a reward one point later: at 20 points in a second half of it is left '
        'after 7 s; choose it so that the beginning of an episode is still worth something',
        minimum=1e-6, maximum=1.0)
    horizon: int = parameter(
        0, 'points of a chunk that the critic judges; 0: those that are executed before the next '
        'answer, replan_period_s / step_s', minimum=0, maximum=200)
    end_rule: str = parameter(
        'safe', 'chunks that meet the end of an episode: kept and masked, or left out as '
        'published', choices=('safe', 'published'))
    success_repeats: int = parameter(
        1, 'how often chunks that reach a success are shown to the critic, and to a policy that '
        'learns beside it (co_rft, qc_fql), for once that others are', minimum=1, maximum=1000)
    features: str = parameter(
        CACHED, 'pictures are looked at once, and of the policy only the action expert learns; or '
        'live, of advantage and co_rft: every weight of it learns, from the pictures; the critic '
        'sees what the imitation policy knew; or stopped, of co_rft: live, and the critic sees '
        'what the policy knows by now, looked at anew every redraw_every steps, without a '
        'gradient', choices=FEATURES)
    head: str = parameter(
        FLOW, 'of co_rft: the policy stays a flow; or deterministic, as in the paper: one step '
        'from no noise (policy.flow_steps 1, policy.noise_scale 0), cloned by squared error',
        choices=HEADS)
    critic_steps: int = parameter(
        2500, 'of `steps` the first, in which the critic alone learns; of qc it learns in all of '
        'them', minimum=1, maximum=100_000_000)
    critic_batch_size: int = parameter(
        256, 'chunks in an update of a critic while it learns alone; beside a policy: batch_size',
        minimum=1, maximum=1_000_000)
    critic_members: int = parameter(2, 'critics side by side', minimum=1, maximum=32)
    critic_width: int = parameter(
        256, 'features of a layer of a critic', minimum=8, maximum=4096)
    critic_layers: int = parameter(3, 'layers of a critic', minimum=1, maximum=16)
    critic_heads: int = parameter(
        4, "attention heads of co_rft's critic; critic_width must be a multiple", minimum=1,
        maximum=64)
    critic_learning_rate: float = parameter(
        3e-4, 'the same throughout', minimum=0.0, maximum=1.0)
    target_rate: float = parameter(
        0.005, 'of all but advantage: share by which the slow copy of the critic follows it at a '
        'step', minimum=0.0, maximum=1.0)
    candidates: int = parameter(
        4, 'chunks that stand for a policy in a state: the imitation policy, of co_rft and qc_fql '
        'the one that learns, once it does', minimum=1, maximum=64)
    candidate_steps: int = parameter(
        5, 'of all but co_rft: Euler steps from noise to a chunk of the imitation policy',
        minimum=1, maximum=100)
    tabulate_every: int = parameter(
        200, 'of advantage and co_rft: steps after which the values of all states are made anew, '
        'by the critic as it is then: from its first step on', minimum=1, maximum=1_000_000)
    redraw_every: int = parameter(
        500, 'of co_rft and qc_fql: steps after which the chunks that stand for the policy are '
        'drawn anew, once it learns; with live features all pictures are looked at again',
        minimum=1, maximum=1_000_000)
    selection: str = parameter(
        KEEP, 'of advantage and co_rft: demonstrated chunks of high advantage are kept, or are '
        'weighed by it; without a critic, as controls of the same budget: all of them, those of '
        "successes, or those of each task's faster half of the successes", choices=SELECTIONS)
    keep_fraction: float = parameter(
        0.4, 'of advantage and co_rft: share of the demonstrated chunks that is kept',
        minimum=1e-6, maximum=1.0)
    temperature: float = parameter(
        1.0, 'of advantage and co_rft: of the weights exp(advantage / (temperature * spread of '
        'the advantages))',
        minimum=1e-3, maximum=1e3)
    alpha: float = parameter(
        100.0, 'weight of staying with the imitation policy, of qc_fql', minimum=0.0,
        maximum=1e6)
    bc_weight: float = parameter(
        1.0, 'weight of staying with the demonstrations, of co_rft', minimum=0.0, maximum=1e6)
    conservative_weight: float = parameter(
        0.1, "weight of Cal-QL's term, of co_rft", minimum=0.0, maximum=1e3)
    literal_targets: bool = parameter(
        False, 'co_rft: every prefix gets the target of the whole chunk, as the equation is '
        'written; else each its own')
    actor_every: int = parameter(
        2, 'steps of the critic for one of the policy, of co_rft and qc_fql', minimum=1,
        maximum=100)
    target_noise: float = parameter(
        0.2, "standard deviation of what blurs the chunk of co_rft's target, in the spread of "
        'the demonstrated ones', minimum=0.0, maximum=10.0)
    accept_weak_data: bool = parameter(
        False, 'train though the data cannot support an improvement')


def without_effect(keys: Iterable[str], method: str) -> tuple[str, ...]:
    """Return those of ``keys``, such as ``rl.alpha``, that are of another method's training."""
    return tuple(key for key in keys if key.startswith('rl.') and (
        method == IMITATION or method not in METHODS_OF.get(key.removeprefix('rl.'), METHODS)))


def critic_horizon(said: int, chunk: int, replan_period_s: float, step_s: float) -> int:
    """
    Return how many points the critic judges.

    :param said: `RlConfig.horizon`.
    :param chunk: Points of the policy's chunk.
    """
    return said or max(1, min(chunk, round(replan_period_s / step_s)))
