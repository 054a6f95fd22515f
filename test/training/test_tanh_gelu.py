"""The quick gelu is torch's, in value and derivative, at both precisions."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')

import torch
from torch.nn.functional import gelu

from chunked_vla_ros.training.tanh_gelu import tanh_gelu


def far_and_near(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.cat([torch.linspace(-1e4, 1e4, 999), torch.linspace(-6, 6, 1001)]).to(dtype)


def test_values_are_those_of_torch():
    x = far_and_near()
    assert torch.allclose(tanh_gelu(x), gelu(x, approximate='tanh'), rtol=1e-6, atol=1e-6)


def test_what_goes_in_stays_as_it_was():
    x = far_and_near()
    before = x.clone()
    tanh_gelu(x)
    tanh_gelu(x.requires_grad_()).sum().backward()
    assert torch.equal(x.detach(), before)


def test_derivatives_are_those_of_torch():
    x, weight = far_and_near().requires_grad_(), torch.linspace(-1, 2, 2000)
    (mine,) = torch.autograd.grad((tanh_gelu(x) * weight).sum(), x)
    (theirs,) = torch.autograd.grad((gelu(x, approximate='tanh') * weight).sum(), x)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    few = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tanh_gelu, (few,))


def test_a_graph_that_is_traced_has_the_operator_itself():
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return tanh_gelu(x)

    traced = torch.export.export(Net(), (torch.zeros(3),)).graph
    assert [str(node.target) for node in traced.nodes if node.op == 'call_function'] == [
        'aten.gelu.default']
