"""A model that reaches outside of its own bytes is refused before ONNX Runtime sees it."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.policies.onnx_file import check_self_contained

onnx = pytest.importorskip('onnx')
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
CANARY = 'canary.bin'


def model(*nodes, initializers=(), functions=(), domains=('',)):
    """Return a model of ``nodes`` that turns x, four numbers, into y."""
    values = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in 'xy']
    graph = helper.make_graph(list(nodes), 'g', values[:1], values[1:], list(initializers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, 17) for domain in domains],
        functions=list(functions), ir_version=9)


def external(location, name='w'):
    """Return a tensor of four numbers that lie in the file ``location``."""
    tensor = onnx.TensorProto(
        name=name, data_type=FLOAT, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key='location', value=location)
    return tensor


ADD = helper.make_node('Add', ['x', 'w'], ['y'])
INSIDE = onnx.numpy_helper.from_array(np.ones(4, np.float32), 'w')


def test_a_model_with_its_weights_inside_is_taken():
    check_self_contained(model(ADD, initializers=[INSIDE]).SerializeToString())


@pytest.mark.parametrize('place', [
    'initializer', 'constant', 'sparse constant', 'subgraph', 'sparse', 'function'])
@pytest.mark.parametrize('location', [CANARY, f'../{CANARY}', f'sub/../{CANARY}', '/etc/passwd'])
def test_weights_in_another_file_are_refused_wherever_they_are_named(place, location):
    tensor = external(location)
    constant = helper.make_node('Constant', [], ['w'], value=tensor)
    if place == 'initializer':
        made = model(ADD, initializers=[tensor])
    elif place == 'constant':
        made = model(constant, ADD)
    elif place == 'sparse constant':
        made = model(helper.make_node('Constant', [], ['w']), ADD)
        attribute = made.graph.node[0].attribute.add(
            name='sparse_value', type=onnx.AttributeProto.SPARSE_TENSOR)
        attribute.sparse_tensor.values.CopyFrom(tensor)
    elif place == 'subgraph':
        branch = helper.make_graph([constant, ADD], 'b', [], [])
        made = model(helper.make_node('If', ['c'], ['y'], then_branch=branch, else_branch=branch))
    elif place == 'sparse':
        made = model(ADD)
        made.graph.sparse_initializer.add().values.CopyFrom(tensor)
    else:
        made = model(helper.make_node('F', ['x'], ['y'], domain='own'), functions=[
            helper.make_function('own', 'F', ['x'], ['y'], [constant, ADD],
                                 [helper.make_opsetid('', 17)])])
    with pytest.raises(BundleError, match='keeps weights in another file'):
        check_self_contained(made.SerializeToString())


def test_location_alone_or_flag_alone_is_enough_to_be_refused():
    for field in ('external_data', 'data_location'):
        tensor = external(CANARY)
        tensor.ClearField(field)
        with pytest.raises(BundleError, match='another file'):
            check_self_contained(model(ADD, initializers=[tensor]).SerializeToString())


@pytest.mark.parametrize(('operator', 'domain'), [
    ('Add', 'evil.ops'), ('Custom', 'my'), ('EPContext', 'com.microsoft'), ('Op', 'ai.onnx.ml')])
def test_an_operator_from_elsewhere_is_refused(operator, domain):
    made = model(helper.make_node(operator, ['x', 'x'], ['y'], domain=domain),
                 domains=('', domain))
    with pytest.raises(BundleError, match=f"uses operator '{operator}' of domain '{domain}'"):
        check_self_contained(made.SerializeToString())


def test_a_function_that_the_file_itself_defines_is_no_foreign_operator():
    made = model(
        helper.make_node('F', ['x'], ['y'], domain='own'), domains=('', 'own'),
        functions=[helper.make_function(
            'own', 'F', ['x'], ['y'], [helper.make_node('Add', ['x', 'x'], ['y'])],
            [helper.make_opsetid('', 17)])])
    check_self_contained(made.SerializeToString())


@pytest.mark.parametrize('domain', ['', 'ai.onnx', 'com.microsoft'])
def test_a_function_may_not_hide_an_operator_that_reads_files(domain):
    node = helper.make_node('EPContext', ['x'], ['y'], domain=domain)
    hiding = helper.make_function(
        domain, 'EPContext', ['x'], ['y'], [helper.make_node('Add', ['x', 'x'], ['y'])],
        [helper.make_opsetid('', 17)])
    with pytest.raises(BundleError, match="redefines operator 'EPContext'"):
        check_self_contained(
            model(node, domains=('', domain), functions=[hiding]).SerializeToString())
    elsewhere = helper.make_function(
        'own', 'EPContext', ['x'], ['y'], [helper.make_node('Add', ['x', 'x'], ['y'])],
        [helper.make_opsetid('', 17)])
    with pytest.raises(BundleError, match="uses operator 'EPContext'"):
        check_self_contained(model(
            node, domains=('', domain, 'own'), functions=[elsewhere]).SerializeToString())


VALID = model(ADD, initializers=[INSIDE]).SerializeToString()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.builds(
    lambda at, junk: VALID[:at] + junk + VALID[at + len(junk):],
    st.integers(0, len(VALID)), st.binary(max_size=4)))
def test_any_bytes_are_taken_or_refused_in_one_line(data):
    reason = ''
    try:
        check_self_contained(data)
    except BundleError as error:
        reason = str(error)
    assert '\n' not in reason


def test_endless_nesting_is_refused():
    data = b''
    for _ in range(500):    # a graph in an attribute of a node of a graph, over and over
        data = wrapped(1, wrapped(5, wrapped(6, data)))
    with pytest.raises(BundleError, match='nested more than 64 deep'):
        check_self_contained(wrapped(7, data))


def wrapped(field, data):
    """Return ``data`` as the length-delimited field ``field`` of a message."""
    length, size = b'', len(data)
    while size >= 0x80:
        length, size = length + bytes([size & 0x7f | 0x80]), size >> 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + data
