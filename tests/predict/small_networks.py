"""Networks and checkpoints small enough for the tests of prediction, and what they wrote."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from maskwright.checkpoint import KEY, Trained, describe
from maskwright.data.intensity import Intensity
from maskwright.models import build_model
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import UNetSpec
from maskwright.types import Categories, Category


def a_checkpoint(path, seed=0):
    model = UNetSpec(encoder="resnet10t", decoder_channels=(8, 8, 8), output_stride=1, encoder_weights="none")
    categories = (Category(3, "a", values=(3,)), Category(9, "b", values=(9,)))
    data = DataSpec(root=".", categories=categories, channels=1, value_range=(0, 255), mean=(0.5,), std=(0.25,))
    torch.manual_seed(seed)
    network = build_model(model, in_channels=1, classes=2)
    about = describe(model, data, scale=0.5, precision="float32", channels_last=False)
    state = {f"step.network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, KEY: about}, path)
    return path


class Blurred(torch.nn.Module):
    """Logits from the surroundings of each pixel, so that tiles differ near their borders."""

    def __init__(self, categories, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Conv2d(3, categories, 9, padding=4)
        self.layer.weight.data *= 4

    def forward(self, images):
        return self.layer(images)


def trained_with(scale=1.0, categories=3, seed=0, ids=None):
    items = tuple(Category(n if ids is None else ids[n], f"c{n}") for n in range(categories))
    intensity = Intensity(3, (0.0, 255.0), (0.5, 0.4, 0.6), (0.2, 0.25, 0.3))
    network = Blurred(categories, seed).eval().requires_grad_(False)
    return Trained(network, Categories(items), intensity, scale, "float32", False, None)


def labels_of(out):
    return {p.relative_to(out).as_posix(): np.asarray(Image.open(p)) for p in sorted(out.rglob("*.png"))}
