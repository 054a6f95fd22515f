"""
The buffers of one ONNX session: fixed arrays that the model reads and writes without copies.

Checks the model's inputs and outputs against the manifest: names, types and shapes are fixed by
docs/policy_bundle.md. Knows nothing about observations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
import onnxruntime

from chunked_vla_ros.core.bundle_manifest import BundleError, BundleManifest, MOST_CANDIDATES

Signature = dict[str, tuple[type[np.generic], tuple[int, ...]]]
STATE, TOKENS, MASK, NOISE, ACTIONS = 'state', 'tokens', 'tokens_mask', 'noise', 'actions'
PREFIX, PREFIX_MASK = 'prefix', 'prefix_mask'
OPTIONAL = (NOISE, PREFIX, PREFIX_MASK)
ORT_TYPES = {np.uint8: 'tensor(uint8)', np.int64: 'tensor(int64)', np.float32: 'tensor(float)'}


def image_input(camera: str) -> str:
    """Return the name of the input that takes the images of ``camera``."""
    return f'image.{camera}'


def expected_inputs(manifest: BundleManifest, candidates: int = 1) -> Signature:
    """
    Return type and shape of every input that the model of ``manifest`` may have.

    :param candidates: Chunks that it makes at once, to answer with one of them.
    """
    joints = len(manifest.joint_names)
    inputs: Signature = {STATE: (np.float32, (1, joints))}
    for camera in manifest.cameras:
        inputs[image_input(camera.name)] = (np.uint8, (1, *camera.frame_shape))
    if manifest.tokenizer is not None:
        for name in (TOKENS, MASK):
            inputs[name] = (np.int64, (1, manifest.tokenizer.max_length))
    for name, count in ((NOISE, candidates), (PREFIX, 1)):
        inputs[name] = (np.float32, (count, manifest.horizon, joints))
    inputs[PREFIX_MASK] = (np.float32, (1, manifest.horizon))
    return inputs


class ModelBinding:
    """
    Inputs and output of a session as arrays.

    :ivar state: Shape (1, J) float32, written before each run.
    :ivar noise: Shape (N, H, J) float32 for a model that chooses the best of N chunks by a critic,
        mostly (1, H, J); ``None`` if the model takes none.
    :ivar prefix: Shape (1, H, J) float32, or ``None`` if the model continues nothing.
    :ivar prefix_mask: Shape (1, H) float32, 1 where the row of ``prefix`` counts.
    :ivar tokens: Shape (1, L) int64; L is 0 without a tokenizer.
    :ivar mask: As ``tokens``.
    """

    def __init__(self, session: onnxruntime.InferenceSession, manifest: BundleManifest) -> None:
        """
        Check the session's signature and make the arrays.

        :raises BundleError: one line that names the first input or output that does not fit.
        """
        inputs = expected_inputs(manifest, _candidates(session))
        present = _check('input', session.get_inputs(), inputs)
        shape = (1, manifest.horizon, len(manifest.joint_names))
        _check('output', session.get_outputs(), {ACTIONS: (np.float32, shape)})
        self._session, self._binding = session, session.io_binding()
        self.state = np.zeros(inputs[STATE][1], np.float32)
        self.noise, self.prefix, self.prefix_mask = (
            np.zeros(inputs[name][1], np.float32) if name in present else None
            for name in OPTIONAL)
        self.tokens, self.mask = (
            np.zeros(inputs[name][1] if name in present else (1, 0), np.int64)
            for name in (TOKENS, MASK))
        every: dict[str, NDArray[Any] | None] = {
            STATE: self.state, TOKENS: self.tokens, MASK: self.mask, NOISE: self.noise,
            PREFIX: self.prefix, PREFIX_MASK: self.prefix_mask}
        self._arrays: dict[str, NDArray[Any]] = {
            name: array for name, array in every.items() if array is not None and name in present}
        self._actions = np.zeros(shape, np.float32)
        # A device other than the CPU takes its copy of an input when it is bound.
        self._copies_inputs = session.get_providers()[0] != 'CPUExecutionProvider'
        for name, array in self._arrays.items():
            self._bind(name, array)
        self._binding.bind_output(
            ACTIONS, 'cpu', 0, np.float32, shape, self._actions.ctypes.data)

    def run(self, images: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """
        Run the model on the arrays and on ``images``, (height, width, 3) each by input name.

        :return: The output's own buffer, shape (H, J): the next run overwrites it.
        """
        bound: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(pixels)[None] for name, pixels in images.items()}
        if self._copies_inputs:
            bound.update(self._arrays)
        for name, array in bound.items():
            self._bind(name, array)
        self._session.run_with_iobinding(self._binding)
        actions: NDArray[np.float32] = self._actions[0]
        return actions

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_input(
            name, 'cpu', 0, array.dtype.type, array.shape, array.ctypes.data)


def _candidates(session: onnxruntime.InferenceSession) -> int:
    """Return how many chunks the model makes at once: it says so by the noise that it asks for."""
    sizes = [node.shape[0] for node in session.get_inputs() if node.name == NOISE and node.shape]
    known = [size for size in sizes if isinstance(size, int) and 1 <= size <= MOST_CANDIDATES]
    return known[0] if known else 1


def _check(what: str, found: list[onnxruntime.NodeArg], expected: Signature) -> list[str]:
    """Return the names that there are, all of them as expected."""
    names = [node.name for node in found]
    for node in found:
        if node.name not in expected:
            raise BundleError(f'policy.onnx has an unknown {what} {node.name[:60]!r}, expected '
                              f'{", ".join(expected)}')
        kind, shape = expected[node.name]
        batch_free = [1 if at == 0 and not isinstance(size, int) else size
                      for at, size in enumerate(node.shape)]
        if node.type != ORT_TYPES[kind] or tuple(batch_free) != shape:
            raise BundleError(
                f'policy.onnx: {what} {node.name!r} is {node.type} {node.shape}, expected '
                f'{ORT_TYPES[kind]} {list(shape)} by the manifest')
    for name in expected:
        if name not in names and name not in OPTIONAL:
            raise BundleError(f'policy.onnx has no {what} {name!r}, which the manifest asks for')
    for name, other in ((PREFIX, PREFIX_MASK), (PREFIX_MASK, PREFIX)):
        if name in names and other not in names:
            raise BundleError(
                f'policy.onnx has an {what} {name!r} but no {other!r}; export it with both')
    return names
