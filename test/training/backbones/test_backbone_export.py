"""
Every backbone becomes an ONNX graph that answers what torch answers.

Slow: the exporter traces a whole model for each (`pytest -m slow test/training/backbones`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize('kind', ['efficientnet_lite0', 'kosmos-2', 'clip', 'siglip'])
def test_the_graph_answers_as_torch_does(
        kind: str, model_folders: dict[str, Path], make_vla: Callable[..., Any],
        train: Callable[[Any], float], look: Any) -> None:
    onnxruntime = pytest.importorskip('onnxruntime', reason='no ONNX Runtime here')
    from chunked_vla_ros.training.export_graph import graph_inputs, to_onnx
    if kind in model_folders:
        vla = make_vla(backbone='transformers', model_path=str(model_folders[kind]), lora_rank=2)
    else:
        vla = make_vla(backbone=kind, pretrained=False)
    train(vla)
    vla.eval().requires_grad_(False)
    session = onnxruntime.InferenceSession(
        to_onnx(vla, 0), providers=['CPUExecutionProvider'])
    images = [(image[:1] * 255).to(torch.uint8) for image in look.images]
    inputs = [*images, torch.rand(1, 2), look.tokens[:1], look.mask[:1].long(),
              torch.randn(1, 3, 2)]
    names = graph_inputs(vla.shape, takes_prefix=False)
    (answer,) = session.run(None, {
        name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    expected = vla.sample(images, *inputs[2:])
    np.testing.assert_allclose(answer, expected.numpy(), atol=1e-4, rtol=0.0)
