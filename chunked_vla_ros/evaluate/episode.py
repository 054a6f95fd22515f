"""
One episode of an evaluation: what is asked for, what came of it, and both as JSON.

Knows nothing about how an episode is run, in process or through ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class EpisodeJob:
    """
    An episode to run; the start follows from seed, position set and task alone.

    :ivar policy: Number of the policy in the order of the command line.
    :ivar task: Short name such as ``red_left``; empty: drawn from the seed.
    """

    policy: int
    seed: int
    position_set: str
    task: str = ''

    def to_json(self) -> dict[str, Any]:
        """Return what `job_from_json` reads."""
        return asdict(self)


def job_from_json(content: Mapping[str, Any]) -> EpisodeJob:
    """Return the job that `EpisodeJob.to_json` wrote."""
    return EpisodeJob(**content)


@dataclass(frozen=True)
class FilmMoment:
    """A moment to show: time since the run's start in [s], generalised positions of the model."""

    time_s: float
    configuration: tuple[float, ...]


@dataclass(frozen=True)
class EpisodeRecord:
    """
    What one episode showed; a quantity that was not measured is ``None``.

    :ivar policy: Number of the policy in the order of the command line.
    :ivar termination: Why the run ended, as RunPolicy.action names it; success is kept apart.
    :ivar duration_s: From the run's start to its end in simulated time [s].
    :ivar cube_x_m: Where the cube that the instruction names started, in the base frame [m].
    :ivar cube_y_m: The other coordinate.
    :ivar cube_to_pad_m: Horizontal distance of that cube from its pad's centre at the end [m].
    :ivar first_moved: First cube displaced by more than 1 cm, empty if none was.
    :ivar first_lifted: First cube whose lower side was over 5 cm high, empty if none was.
    :ivar plan_wall_s: Wall time of each call of the policy [s].
    :ivar refused: Chunks that the executor refused, as stale or for another reason.
    :ivar noise_seed: What the policy's noise began from; ``None``: it has none, or it was run
        through ROS, where the inference node begins every run with one and the same noise.
    :ivar rms_jerk: Of the arm's commanded motion, over joints and ticks [rad/s^3].
    :ivar spectral_arc_length: Of the commanded speed; nearer to 0 is smoother, `None` if at rest.
    """

    policy: int
    seed: int
    position_set: str
    task: str
    instruction: str
    success: bool
    termination: str
    message: str
    duration_s: float
    chunks: int
    cube_x_m: float | None = None
    cube_y_m: float | None = None
    cube_to_pad_m: float | None = None
    first_moved: str | None = None
    first_lifted: str | None = None
    plan_wall_s: tuple[float, ...] = ()
    accepted: int = 0
    refused: int = 0
    last_refusal: str = ''
    points_skipped: int = 0
    holds: int = 0
    clamps: int = 0
    noise_seed: int | None = None
    rms_jerk: float | None = None
    spectral_arc_length: float | None = None
    film: tuple[FilmMoment, ...] = ()

    @property
    def cube(self) -> str:
        """Return the cube that the instruction names."""
        return self.task.partition('_')[0]

    def to_json(self, *, film: bool = False) -> dict[str, Any]:
        """Return every field; the film only for who draws it."""
        content = asdict(self)
        if not film:
            del content['film']
        return content


def record_from_json(content: Mapping[str, Any]) -> EpisodeRecord:
    """Return the record that `EpisodeRecord.to_json` wrote."""
    known = {spec.name for spec in fields(EpisodeRecord)}
    values = {name: value for name, value in content.items() if name in known}
    values['plan_wall_s'] = tuple(values.get('plan_wall_s', ()))
    values['film'] = tuple(
        FilmMoment(moment['time_s'], tuple(moment['configuration']))
        for moment in values.get('film', ()))
    return EpisodeRecord(**values)
