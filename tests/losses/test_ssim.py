"""The SSIM loss against scikit-image and worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from maskwright.losses import ssim_loss
from maskwright.losses.ssim import _blur, _similarity
from maskwright.types import IGNORE


def blur(window=11, pad=5):
    return lambda values: _blur(values, window=window, sigma=1.5, pad=pad)


def test_constants_worked_by_hand():
    # methods 3.6: .5 and .6 everywhere, no variance: (2·.5·.6 + 1e-4) / (.5² + .6² + 1e-4) = .983609
    x, y = (torch.full((1, 1, 32, 32), value, dtype=torch.float64) for value in (0.5, 0.6))
    found = _similarity(x, y, blur(), binary=False)
    assert found[0, 0, 16, 16].item() == pytest.approx(0.983609, abs=1e-6)
    assert found[0, 0, 0, 0].item() != pytest.approx(0.983609, abs=1e-6)  # zeros beyond the border
    rounded = _similarity(x.float(), y.float(), blur(), binary=False)  # variances are differences of near numbers
    assert rounded[0, 0, 16, 16].item() == pytest.approx(0.983609, abs=5e-4)


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 24, 20, generator=generator), torch.randint(0, 3, (2, 24, 20), generator=generator)


def test_valid_windows_are_those_of_scikit_image():
    logits, labels = maps()
    p, scores = logits.softmax(1).double().numpy(), []
    for n in range(2):
        for c in range(3):
            options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            truth = (labels[n].numpy() == c).astype(float)
            _, whole = structural_similarity(p[n, c], truth, full=True, win_size=11, **options)
            scores.append(whole[5:-5, 5:-5].mean())  # truncate 3.5 · 1.5 makes its Gaussian 11 wide
    found = ssim_loss(logits, labels, padding="valid")
    assert found.item() == pytest.approx(1 - np.mean(scores), rel=1e-4)


def test_zero_padding_is_that_of_zeros_around_the_image():
    logits, labels = maps()
    wide = torch.nn.functional.pad(logits, (5,) * 4)
    around = torch.nn.functional.pad(labels, (5,) * 4, value=IGNORE)
    assert ssim_loss(wide, around).item() == pytest.approx(ssim_loss(logits, labels).item(), rel=1e-5)


def test_valid_windows_hold_no_ignored_pixel():
    logits, labels = maps()
    labels[:, 12:] = IGNORE
    found = ssim_loss(logits, labels, padding="valid")
    assert found.item() == pytest.approx(ssim_loss(logits[:, :, :12], labels[:, :12], padding="valid").item(), rel=1e-5)


def test_class_weights_weigh_the_channels():
    logits, labels = maps()
    each = [ssim_loss(logits, labels, class_weights=torch.eye(3)[c]).item() for c in range(3)]
    found = ssim_loss(logits, labels, class_weights=torch.tensor([0.0, 1, 3]))
    assert found.item() == pytest.approx((each[1] + 3 * each[2]) / 4, rel=1e-5)
