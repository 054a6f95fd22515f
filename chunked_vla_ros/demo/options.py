"""
The options of ``chunked-vla demo``; each default and bound has its home here.

Knows nothing about how the demonstration is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

# Demonstrations of the expert are recorded from seeds that count up from 0 and are what a policy
# has seen; it is shown, and judged, at other starts.
UNSEEN_SEED = 100_000
POSITION_SETS = ('fixed', 'random', 'unseen')
REPORT, RESULTS, LOG = 'report.html', 'results.json', 'graph.log'


@dataclass(frozen=True)
class DemoOptions:
    """Seeded pick-and-place episodes: simulated arm, inference and executor over ROS 2."""

    episodes: int = parameter(10, 'how many episodes', minimum=1, maximum=10_000)
    seed: int = parameter(
        UNSEEN_SEED, 'of the first episode; each further one counts up; demonstrations begin at 0',
        minimum=0, maximum=2**31)
    out: str = parameter('out/demo', f'folder for {REPORT}, {RESULTS} and {LOG}')
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    policy: str = parameter(
        '', "bundle that drives, a directory, or 'expert'; left out: the bundle that comes along, "
        "else 'expert'")
    position_set: str = parameter('random', 'start positions', choices=POSITION_SETS)
    timeout_s: float = parameter(
        30.0, 'an episode ends after this long [s]', minimum=1.0, maximum=600.0)
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this demonstration."""
        return command_line(self, 'demo', without=('domain_id',))
