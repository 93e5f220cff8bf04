"""The categories that street scenes share: those of Cityscapes, under the same names in every set that has them."""

from __future__ import annotations

from collections.abc import Mapping

from maskwright.types import Category

Color = tuple[int, int, int]

CITYSCAPES: dict[str, tuple[int, Color]] = {
    "unlabeled": (0, (0, 0, 0)),
    "ego vehicle": (1, (0, 0, 0)),
    "rectification border": (2, (0, 0, 0)),
    "out of roi": (3, (0, 0, 0)),
    "static": (4, (0, 0, 0)),
    "dynamic": (5, (111, 74, 0)),
    "ground": (6, (81, 0, 81)),
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "parking": (9, (250, 170, 160)),
    "rail track": (10, (230, 150, 140)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "guard rail": (14, (180, 165, 180)),
    "bridge": (15, (150, 100, 100)),
    "tunnel": (16, (150, 120, 90)),
    "pole": (17, (153, 153, 153)),
    "polegroup": (18, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "caravan": (29, (0, 0, 90)),
    "trailer": (30, (0, 0, 110)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
    "license plate": (34, (0, 0, 142)),
}
"""Name → (label id, colour) of Cityscapes; the licence plate's id is −1 there, and 34 in GTA-V."""

STREET_19 = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""The 19 categories that are evaluated; a name's position is its train id."""

STREET_16 = tuple(name for name in STREET_19 if name not in ("terrain", "truck", "train"))
"""Those that SYNTHIA has masks of."""

THINGS = frozenset(("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"))
"""Those of the 19 that are counted."""

VOID = tuple(number for name, (number, _) in CITYSCAPES.items() if name not in STREET_19)
"""Label ids of Cityscapes and GTA-V that are none of the 19."""


def street_categories(values: Mapping[str, tuple[int | str, ...]]) -> tuple[Category, ...]:
    """Return the categories among the 19 that a set has, in the order of their train ids, which are their ids.

    Args:
        values: name → mask values.

    Example:
        >>> [(c.id, c.name, c.values) for c in street_categories({"sky": (23,), "road": (7,)})]
        [(0, 'road', (7,)), (10, 'sky', (23,))]
    """
    return tuple(
        Category(number, name, CITYSCAPES[name][1], name in THINGS, values[name])
        for number, name in enumerate(STREET_19)
        if name in values
    )


def hex_color(color: Color) -> str:
    """Return a colour as categories state it.

    Example:
        >>> hex_color((255, 0, 1))
        '#ff0001'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)
