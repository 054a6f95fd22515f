"""
Look into the bytes of an ONNX file before anything runs it: does it reach outside of itself?

Walks the protobuf messages of onnx.proto that can hold tensors and operators, skipping the weights
themselves. Refuses tensors whose data lie in other files and operators that are not ONNX's own or
the runtime's, whatever path or library they name. Knows nothing about sessions and bundles.
"""

from __future__ import annotations

from collections.abc import Iterator

from chunked_vla_ros.core.bundle_manifest import BundleError

# Field numbers of onnx.proto by message: which fields hold which messages.
CHILDREN = {
    'Model': {7: 'Graph', 20: 'Training', 25: 'Function'},
    'Training': {1: 'Graph', 2: 'Graph'},
    'Graph': {1: 'Node', 5: 'Tensor', 15: 'SparseTensor'},
    'Function': {7: 'Node', 11: 'Attribute'},
    'Node': {5: 'Attribute'},
    'Attribute': {5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph', 22: 'SparseTensor',
                  23: 'SparseTensor'},
    'SparseTensor': {1: 'Tensor', 2: 'Tensor'},
}
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
NODE_OPERATOR, NODE_DOMAIN = 4, 7
FUNCTION_NAME, FUNCTION_DOMAIN = 1, 10
# Standard operators, and those that the runtime's own optimiser and quantiser write.
DOMAINS = ('', 'ai.onnx', 'com.microsoft')
# Loads a compiled model from a path of its own.
FILE_OPERATORS = ('EPContext',)
DEEPEST = 64

Field = tuple[int, 'int | memoryview']


def check_self_contained(model: bytes) -> None:
    """
    Do nothing if ``model`` is an ONNX file that needs no other file and no foreign operator.

    :raises BundleError: one line that says what it reaches for.
    """
    try:
        used, defined = _walk('Model', memoryview(model), 0)
    except (IndexError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f'policy.onnx is no ONNX file ({error}); export it again') from error
    hidden = sorted(one for one in defined if one[0] in DOMAINS)
    if hidden:
        raise BundleError(
            f'policy.onnx redefines operator {hidden[0][1][:60]!r} of domain {hidden[0][0]!r}; '
            'export it without functions of that name')
    for domain, operator in sorted(used):
        if operator in FILE_OPERATORS or (
                domain not in DOMAINS and (domain, operator) not in defined):
            raise BundleError(
                f'policy.onnx uses operator {operator[:60]!r} of domain {domain[:60]!r}, expected '
                'operators of ONNX itself; export it without custom operators')


def _walk(kind: str, data: memoryview, depth: int) -> tuple[
        set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the operators that a message uses and the functions that it defines."""
    if depth > DEEPEST:
        raise ValueError(f'nested more than {DEEPEST} deep')
    used: set[tuple[str, str]] = set()
    defined: set[tuple[str, str]] = set()
    texts = {'operator': '', 'domain': ''}
    for number, value in _fields(data):
        if kind == 'Tensor':
            _check_tensor(number, value)
            continue
        if kind == 'Node' and number in (NODE_OPERATOR, NODE_DOMAIN):
            texts['operator' if number == NODE_OPERATOR else 'domain'] = _text(value)
        if kind == 'Function' and number in (FUNCTION_NAME, FUNCTION_DOMAIN):
            texts['operator' if number == FUNCTION_NAME else 'domain'] = _text(value)
        child = CHILDREN[kind].get(number)
        if child is not None:
            if isinstance(value, int):
                raise ValueError(f'field {number} of a {kind} is no message')
            inner_used, inner_defined = _walk(child, value, depth + 1)
            used |= inner_used
            defined |= inner_defined
    if kind == 'Node':
        used.add((texts['domain'], texts['operator']))
    if kind == 'Function':
        defined.add((texts['domain'], texts['operator']))
    return used, defined


def _check_tensor(number: int, value: int | memoryview) -> None:
    if number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value != 0):
        raise BundleError('policy.onnx keeps weights in another file (external data); export it '
                          'with external_data=False')


def _text(value: int | memoryview) -> str:
    if isinstance(value, int):
        raise ValueError('a name is no text')
    return bytes(value).decode('utf-8', 'replace')


def _fields(data: memoryview) -> Iterator[Field]:
    """Yield (field number, value): an integer, or the bytes of what has a length."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f'wire type {wire}')
        if at + length > end:
            raise ValueError('truncated')
        yield number, data[at:at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if shift > 63 or at >= len(data):
            raise ValueError('truncated')
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7
