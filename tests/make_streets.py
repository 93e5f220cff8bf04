"""Street scenes in the layouts of SYNTHIA, GTA-V and Cityscapes: a few drawn images of each."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from maskwright.data.formats.streets import CITYSCAPES
from maskwright.data.formats.synthia import _IDS as SYNTHIA

OWN = ["road", "sky", "car", "person"]
SIZE = (32, 64)


def scene(rng, names):
    """Return (H, W) positions in `names`, (H, W) ids and the image (H, W, 3) uint8."""
    label, ids = np.full(SIZE, names.index("road")), np.zeros(SIZE, int)
    label[:12] = names.index("sky")
    for number, name in enumerate((name for name in names if name not in ("road", "sky")), 1):
        top, left = rng.integers(10, 22), rng.integers(0, 50)
        label[top : top + 8, left : left + 10] = names.index(name)
        ids[top : top + 8, left : left + 10] = number
    shades = np.linspace(40, 220, len(names))[label][..., None] + rng.normal(0, 8, (*SIZE, 3))
    return label, ids, shades.clip(0, 255).astype(np.uint8)


def make_streets(root, count=6):
    """Write CITYSCAPES (images alone), SYNTHIA (all of 4 categories) and GTAV (every second with truck and train)."""
    rng, city = np.random.default_rng(0), "CITYSCAPES/leftImg8bit/train/bonn"
    for folder in (city, "SYNTHIA/RGB", "SYNTHIA/GT/LABELS", "GTAV/images", "GTAV/labels"):
        (root / folder).mkdir(parents=True)
    palette = np.zeros((256, 3), np.uint8)
    for number, color in CITYSCAPES.values():
        palette[number] = color
    for k in range(count):
        label, ids, image = scene(rng, OWN)
        Image.fromarray(image).save(root / f"SYNTHIA/RGB/{k:07}.png")
        code = np.array([SYNTHIA[name] for name in OWN])[label]
        channels = np.stack([0 * code, ids, code], -1).astype(np.uint16)  # OpenCV writes blue first
        cv2.imwrite(str(root / f"SYNTHIA/GT/LABELS/{k:07}.png"), channels)
        names = [*OWN, "truck", "train"] if k % 2 else OWN
        label, _, image = scene(rng, names)
        Image.fromarray(image).save(root / f"GTAV/images/{k:05}.png")
        mask = Image.fromarray(np.array([CITYSCAPES[name][0] for name in names])[label].astype(np.uint8))
        mask.putpalette(palette.ravel().tolist())
        mask.save(root / f"GTAV/labels/{k:05}.png")
        Image.fromarray(255 - scene(rng, OWN)[2]).save(root / f"{city}/bonn_{k:06}_000019_leftImg8bit.png")
    return root
