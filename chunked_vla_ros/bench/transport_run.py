"""
One run of the transport benchmark: a sender and a receiver in a process each, under one profile.

Fast DDS reads its profile from the environment when a process joins, so every run starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

from chunked_vla_ros.bench.transport_options import BenchTransportOptions
from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.graph import tied_process
from chunked_vla_ros.graph.installation import shared_file
from chunked_vla_ros.graph.transport import FAST_DDS, PROFILE, PROFILE_VARIABLE

OURS, DEFAULT = 'ours', 'default'
PROGRAM = 'chunked_vla_ros.nodes.camera_load'
START_LIMIT_S, END_LIMIT_S = 40.0, 20.0


class NoTransport(RuntimeError):
    """A run could not be made; one line."""


@dataclass(frozen=True)
class TransportRun:
    """
    What became of the images of one run.

    :ivar profile: `OURS` or `DEFAULT`.
    :ivar sent: Images sent, all cameras together.
    :ivar lost: Of these, how many did not arrive.
    :ivar lost_by_number: Losses that the receiver could see from the publishers' numbers.
    :ivar refused: Images that arrived and could not be converted.
    :ivar lost_by_camera: Losses by camera.
    :ivar latency_p50_ms: From the stamp before publishing to the converted frame, median [ms].
    :ivar latency_p99_ms: The same, 99th percentile [ms].
    :ivar sender_cpu: Share of a core that the sender used.
    :ivar receiver_cpu: Share of a core that the receiver used.
    :ivar latest_start_ms: Largest delay of a set of images against its deadline [ms].
    """

    profile: str
    seconds: float
    sent: int
    lost: int
    lost_by_number: int
    refused: int
    lost_by_camera: Mapping[str, int]
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    sender_cpu: float
    receiver_cpu: float
    latest_start_ms: float


def profile_environment(profile: str, domain_id: int) -> dict[str, str]:
    """
    Return the whole environment of a process that joins ``domain_id`` under ``profile``.

    :raises NoTransport: the middleware is not Fast DDS, or our profile is not installed.
    """
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id),
                   'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    environment.pop(PROFILE_VARIABLE, None)
    middleware = environment.get('RMW_IMPLEMENTATION', '')
    if middleware not in FAST_DDS:
        raise NoTransport(f'RMW_IMPLEMENTATION is {middleware}, expected Fast DDS: its profile '
                          'is what is compared')
    if profile == OURS:
        path = shared_file(PROFILE)
        if path is None:
            raise NoTransport(f'{PROFILE} is not installed: run make setup')
        environment[PROFILE_VARIABLE] = str(path)
    return environment


def run_once(options: BenchTransportOptions, profile: str, seconds: float,
             domain_id: int) -> TransportRun:
    """
    Send images for ``seconds`` under ``profile``; return what became of them.

    :raises NoTransport: if a process fails or does not end.
    """
    environment = profile_environment(profile, domain_id)
    receiver = _start('receive', options, seconds, environment)
    sender = _start('send', options, seconds, environment)
    try:
        sent = _result(sender, seconds + START_LIMIT_S)
        received = _result(receiver, END_LIMIT_S)
    finally:
        for process in (sender, receiver):
            if process.poll() is None:
                process.kill()
                process.communicate()
    return _merged(profile, seconds, sent, received)


def _start(role: str, options: BenchTransportOptions, seconds: float,
           environment: Mapping[str, str]) -> subprocess.Popen[str]:
    frames = max(1, round(options.rate_hz * seconds))
    return subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, '-m', PROGRAM, role, '--cameras', str(options.cameras),
         '--width', str(options.width), '--height', str(options.height),
         '--rate-hz', str(options.rate_hz), '--frames', str(frames)],
        env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str], limit_s: float) -> dict[str, Any]:
    """Return what ``process`` prints; its standard input ends, by which a receiver ends."""
    try:
        output, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise NoTransport(f'camera_load did not end within {limit_s:g} s') from error
    if process.returncode != 0:
        said = errors.strip().splitlines() or ['nothing']
        raise NoTransport(f'camera_load ended with {process.returncode}: {said[-1]}')
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _merged(profile: str, seconds: float, sent: Mapping[str, Any],
            received: Mapping[str, Any]) -> TransportRun:
    latencies = received['latencies_ms']
    lost = {name: count - received['received'][name] for name, count in sent['sent'].items()}
    return TransportRun(
        profile=profile, seconds=seconds, sent=sum(sent['sent'].values()),
        lost=sum(lost.values()), lost_by_number=sum(received['lost_by_number'].values()),
        refused=received['refused'], lost_by_camera=lost,
        latency_p50_ms=percentile(latencies, 50) if latencies else None,
        latency_p99_ms=percentile(latencies, 99) if latencies else None,
        sender_cpu=sent['cpu_share'], receiver_cpu=received['cpu_share'],
        latest_start_ms=sent['latest_start_ms'])
