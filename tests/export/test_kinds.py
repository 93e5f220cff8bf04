"""Every network of the table as a graph: of any number and size, and with the reason where that can't be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_models import SPECS
from torch import nn
from torch.nn import functional

from maskwright.errors import DataError
from maskwright.export import graphs
from maskwright.export.graphs import CLOSE, Probabilities, write_graph
from maskwright.export.sessions import open_session
from maskwright.models import build_model

SIZES = [(1, 128, 128), (3, 160, 128), (2, 128, 224)]
"""None of them is the one that is traced."""


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.kind)
def test_every_kind_is_one_graph_for_every_number_and_size(spec, tmp_path):
    torch.manual_seed(0)
    network = build_model(spec, in_channels=1, classes=3).train()
    with torch.no_grad():
        network(torch.randn(2, 1, 96, 128))  # dilation rates that follow the crop are known from training on
    network.eval()
    shape = write_graph(network, tmp_path / "a.onnx", channels=1, fixed=None)
    assert (shape.size, shape.batch) == (None, None)
    session = open_session(tmp_path / "a.onnx", "onnx", "fp32")
    for size in SIZES:
        images = torch.randn(size[0], 1, *size[1:])
        with torch.no_grad():
            expected = Probabilities(network)(images).numpy()
        assert np.abs(session.run(images.numpy()) - expected).max() < CLOSE


class OneSize(nn.Module):
    """Positions that are learned for one size, as a plain ViT without resampling has them."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 2, 96, 64))

    def forward(self, images):
        return images + self.positions


class OneImage(OneSize):
    """One that also takes a single image alone."""

    def forward(self, images):
        assert images.shape[0] == 1
        return super().forward(images) * images.mean()


class NoGraph(nn.Module):
    """A network that looks at its own values to decide what to do."""

    def forward(self, images):
        return images.flip(2) if float(images.sum()) > 0 else images * 2


def test_a_network_for_one_size_becomes_a_graph_for_it(tmp_path):
    shape = write_graph(OneSize().eval(), tmp_path / "a.onnx", channels=2, fixed=(96, 64))
    assert (shape.size, shape.batch) == ((96, 64), None)
    shape = write_graph(OneImage().eval(), tmp_path / "b.onnx", channels=2, fixed=(96, 64))
    assert (shape.size, shape.batch) == ((96, 64), 1)


@pytest.mark.parametrize(("network", "fixed"), [(OneSize(), None), (NoGraph(), (96, 64))])
def test_what_has_no_graph_is_said_with_all_that_was_tried(network, fixed, tmp_path):
    with pytest.raises(DataError, match="any number of images, any size: ") as error:
        write_graph(network.eval(), tmp_path / "a.onnx", channels=2, fixed=fixed)
    assert ("1 image(s), 96 × 64: " in str(error.value)) == (fixed is not None)


@pytest.mark.parametrize("cells", [1, 2, 3, 6, (2, 5), (None, 3)])
@pytest.mark.parametrize("size", [(7, 11), (6, 6), (4, 9), (2, 1)])
def test_pooling_as_matrices_is_pytorchs(cells, size):
    maps = torch.randn(2, 3, *size)
    assert torch.allclose(graphs._pooled(maps, cells), functional.adaptive_avg_pool2d(maps, cells), atol=1e-6)
