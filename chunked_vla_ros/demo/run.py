"""
``chunked-vla demo``: the whole loop over DDS, seeded episodes, a table and a report.

Exit code 0 only if the graph shut down cleanly and every episode succeeded; of a policy that sees
only pictures, at least one.
"""

from __future__ import annotations

import json
from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.data.robot_contract import ContractError, load_robot
from chunked_vla_ros.demo.demo_page import demo_page
from chunked_vla_ros.demo.drive import drive
from chunked_vla_ros.demo.driving_policy import driving_policy, NoSuchPolicy
from chunked_vla_ros.demo.free_domain import NoFreeDomain
from chunked_vla_ros.demo.options import DemoOptions, LOG, REPORT, RESULTS
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.summary import print_summary
from chunked_vla_ros.nodes.demo_client import GraphFailure

__all__ = ['DemoOptions', 'run_demo']


def run_demo(options: DemoOptions) -> int:
    """Run the demonstration and write its results; return the process's exit code."""
    console = Console()
    out = Path(options.out)
    try:
        robot = load_robot(options.robot)
        driver = driving_policy(options.policy, robot)
        console.print(driver.remark, markup=False, highlight=False)
        out.mkdir(parents=True, exist_ok=True)
        with reserved_domain(options.domain_id) as domain_id:
            found = drive(options, robot, driver, domain_id, out, console)
    except GraphFailure as error:
        print(f'error: {error}\nthe whole log is in {out / LOG}', file=sys.stderr)
        return 1
    except (ContractError, NoFreeDomain, NoSuchPolicy, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    results = found.results
    (out / RESULTS).write_text(json.dumps(results.to_json(), indent=2) + '\n', encoding='utf-8')
    films = [one.film for index, one in enumerate(found.episodes)
             if one.film.frames and (index == 0 or not one.result.success)]
    demo_page(results, found.shown, films).write(out / REPORT)
    print_summary(results, console)
    console.print(f'report: {out / REPORT}   results: {out / RESULTS}')
    return 0 if results.worked else 1
