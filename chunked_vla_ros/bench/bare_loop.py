"""
What the executor's lateness is compared with: a loop that sleeps to absolute deadlines, no more.

Run as ``python -m chunked_vla_ros.bench.bare_loop RATE_HZ SECONDS PRIORITY``; prints one line of
JSON. Same scheduling and the same window of ticks as the executor's own numbers.
"""

from __future__ import annotations

import json
import sys
import time

from chunked_vla_ros.nodes.realtime import ask_for_realtime

WINDOW = 1000


def measure(rate_hz: float, seconds: float) -> dict[str, float]:
    """Run the loop; return its lateness over the last 1000 ticks in [s] and its rate in [Hz]."""
    period_ns, lateness_ns = round(1e9 / rate_hz), []
    start_ns = deadline_ns = time.monotonic_ns()
    while deadline_ns < start_ns + seconds * 1e9:
        deadline_ns += period_ns
        wait_ns = deadline_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns * 1e-9)
        lateness_ns.append(time.monotonic_ns() - deadline_ns)
        # As in the executor: of deadlines that a stall has swallowed only the last is served.
        missed = (time.monotonic_ns() - deadline_ns) // period_ns
        deadline_ns += max(missed - 1, 0) * period_ns
    recent = sorted(lateness_ns[-WINDOW:])
    last = len(recent) - 1
    elapsed_s = (time.monotonic_ns() - start_ns) * 1e-9
    return {
        'p50_s': recent[last // 2] * 1e-9, 'p99_s': recent[round(0.99 * last)] * 1e-9,
        'rate_hz': len(lateness_ns) / elapsed_s, 'cpu': time.process_time() / elapsed_s}


def main() -> None:
    """Measure as the arguments say."""
    rate_hz, seconds, priority = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    if priority:
        print(ask_for_realtime(priority), file=sys.stderr)
    print(json.dumps(measure(rate_hz, seconds)))


if __name__ == '__main__':
    main()
