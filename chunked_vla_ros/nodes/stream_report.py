"""
What the inference node says of its streams: rates, losses, refusals, cameras that hang.

Turns what the assembler counted into words; decides only what is worth a warning.
"""

from __future__ import annotations

from chunked_vla_ros.core.loss_meter import WINDOW_NS
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.sync import CameraStream, ObservationAssembler
from chunked_vla_ros.core.types import NS_PER_S

# Below this share of the contract's rate a stream is worth a warning.
RATE_SHARE = 0.8


def stream_problems(assembler: ObservationAssembler, robot: RobotSpec, now_ns: int) -> list[str]:
    """Return what is wrong with the streams now, each in a few words that name the stream."""
    problems = [
        f'{name} is slow: {found:.1f} of {expected:g} Hz'
        for name, (found, expected) in _rates(assembler, robot, now_ns).items()
        if found < RATE_SHARE * expected]
    for stream in assembler.cameras.values():
        lost, sent = stream.loss.recent(now_ns)
        if lost:
            problems.append(f'{stream.name} lost {lost} of {sent} images')
        if stream.freeze.frozen_s:
            problems.append(f'{stream.name} is frozen')
        if stream.last_refusal:
            problems.append(f'{stream.name} refused: {stream.last_refusal}')
    return problems


def stream_values(assembler: ObservationAssembler, robot: RobotSpec,
                  now_ns: int) -> dict[str, object]:
    """Return every number about the streams by its name."""
    values: dict[str, object] = {
        f'rate {name}': f'{found:.1f} of {expected:g} Hz'
        for name, (found, expected) in _rates(assembler, robot, now_ns).items()}
    for camera in assembler.cameras.values():
        values.update(_camera_values(camera, now_ns))
    for stream in assembler.streams:
        if stream.refused:
            values[f'refused {stream.name}'] = stream.refused
        if stream.last_refusal:
            values[f'last refusal {stream.name}'] = stream.last_refusal
    return values


def _camera_values(camera: CameraStream, now_ns: int) -> dict[str, object]:
    lost, sent = camera.loss.recent(now_ns)
    share = lost / sent if sent else 0.0
    values: dict[str, object] = {
        f'lost {camera.name}': f'{lost} of {sent} in {WINDOW_NS / NS_PER_S:g} s ({share:.1%}), '
                               f'{camera.loss.lost} of {camera.loss.published} in all'}
    if camera.freeze.frozen_s:
        values[f'frozen {camera.name} [s]'] = f'{camera.freeze.frozen_s:.1f}'
    return values


def _rates(assembler: ObservationAssembler, robot: RobotSpec,
           now_ns: int) -> dict[str, tuple[float, float]]:
    """Return found and expected rate in [Hz] of every stream of the contract."""
    rates = {assembler.joints.name: (
        assembler.joints.meter.rate_hz(now_ns), robot.state.rate_hz)}
    for camera in robot.cameras:
        stream = assembler.cameras[camera.name]
        rates[stream.name] = stream.meter.rate_hz(now_ns), camera.stream.rate_hz
    return rates
