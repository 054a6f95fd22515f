"""Options of ``chunked-vla export``; knows nothing about how a policy is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro.conf

from chunked_vla_ros.core.bundle_manifest import MOST_CANDIDATES
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds
from chunked_vla_ros.training.rl_config import CANDIDATE_NOISE


@dataclass(frozen=True)
class ExportOptions:
    """Write a trained policy as a bundle; the graph is compared with the network before."""

    checkpoint: Annotated[str, tyro.conf.Positional] = parameter(
        '', 'a checkpoint, or the folder of a training: then its newest one')
    out: str = parameter('', 'folder of the bundle, which must not exist')
    name: str = parameter('', "of the policy; left out: its folder's")
    data: tuple[Path, ...] = parameter(
        (), 'datasets whose observations graph and network are compared on; left out: drawn ones')
    candidates: int = parameter(
        0, 'chunks that the policy makes, to do the one that the critic of offline RL likes best; '
        '0: as many as the training says if its method is qc, else one', minimum=0,
        maximum=MOST_CANDIDATES)
    candidate_noise: float = parameter(
        CANDIDATE_NOISE, 'with candidates: share of the noise that all but the first start from, '
        'at least that of the policy (policy.noise_scale); 1: spread as the demonstrations are, '
        'as published', minimum=0.0, maximum=1.0)
    with_weights: bool = parameter(
        False, 'put the weights beside the graph, for further training')
    json: str = parameter('', 'write the report to this file')

    def __post_init__(self) -> None:
        check_bounds(self)
