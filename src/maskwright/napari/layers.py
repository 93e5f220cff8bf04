"""What a session shows as layers of a viewer: pictures in a row or a column, labels over them, and one to draw on.

Works on napari's viewer and, for tests without a screen, on its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskwright.doors import need
from maskwright.napari.session import Pane
from maskwright.review.items import Box
from maskwright.types import IGNORE, Array, LabelMap

NO_LABEL = 254
"""Value of pixels that no label says anything of; categories have smaller ones."""

GRAY = (0.5, 0.5, 0.5, 1.0)
"""Colour of ignored pixels."""

_CLEAR = (0.0, 0.0, 0.0, 0.0)
_GAP = 0.06
_ROOM = 4 / 3  # width over height of a canvas, about
_OWN = "maskwright_review"


def colormap(categories: Sequence[Mapping[str, Any]], *, eraser: int | None = None) -> Any:
    """Return napari's colours of category positions: the review's own, clear where the page tints nothing.

    Args:
        categories: as `shown_categories` returns them.
        eraser: value that napari's eraser leaves; None: the first category that isn't tinted, or `IGNORE`.
    """
    if eraser is None:
        eraser = next((category["position"] for category in categories if not category["tinted"]), IGNORE)
    colors: dict[int | None, Any] = {None: _CLEAR, NO_LABEL: _CLEAR, IGNORE: GRAY}
    for category in categories:
        color = (*(channel / 255 for channel in category["color"]), 1.0)
        colors[category["position"]] = color if category["tinted"] else _CLEAR
    return need("napari.utils", "napari").DirectLabelColormap(color_dict=colors, background_value=eraser)


def hatched(label: LabelMap) -> LabelMap:
    """Return a label to look at: of what is ignored, stripes, as on the page.

    Example:
        >>> hatched(np.full((1, 8), 255, np.uint8)).tolist()
        [[255, 255, 255, 254, 254, 254, 254, 254]]
    """
    height, width = label.shape
    clear = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 8 >= 3
    return np.where((label == IGNORE) & clear, np.uint8(NO_LABEL), label)


def box_of(corners: Array) -> Box:
    """Return left, top, right and bottom of what a rectangle of napari's touches, whose pixels' centres are whole.

    Args:
        corners: (4, 2) of y and x.

    Example:
        >>> box_of(np.array([[0.0, 1.2], [0.0, 3.0], [2.4, 3.0], [2.4, 1.2]]))
        (1, 0, 4, 3)
    """
    (top, left), (bottom, right) = corners.min(axis=0) + 0.5, corners.max(axis=0) + 0.5
    return int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))


class Board:
    """The layers of one item in a viewer, whatever else is there.

    Args:
        viewer: napari's viewer or its model.
        categories: as `shown_categories` returns them.

    Attributes:
        opacity: of labels, 0..1.
        hidden: no label is shown.
        differs: only where A and B differ.
    """

    def __init__(self, viewer: Any, categories: Sequence[Mapping[str, Any]]) -> None:
        self.viewer, self.categories = viewer, categories
        self.opacity, self.hidden, self.differs = 0.45, False, False
        self.drawing: Any = None
        self.rectangle: Any = None
        self._labels: list[tuple[Any, LabelMap]] = []
        self._places: list[dict[str, Any]] = []

    def clear(self) -> None:
        """Take the item's layers out."""
        for layer in [layer for layer in self.viewer.layers if layer.metadata.get(_OWN)]:
            self.viewer.layers.remove(layer)
        self.drawing = self.rectangle = None
        self._labels, self._places = [], []

    def show(self, panes: Sequence[Pane], region: Box | None = None) -> None:
        """Show an item, and what its question frames.

        Args:
            panes: pictures and labels.
            region: left, top, right and bottom in pixels, on every pane with a label.
        """
        self.clear()
        if not panes:
            return
        self._places = _places(panes)
        layers, colors = need("napari.layers", "napari"), colormap(self.categories)
        for pane, place in zip(panes, self._places, strict=True):
            name = pane.title if pane.label is None else f"{pane.title} (image)"
            self._add(layers.Image(pane.image, rgb=True, name=name, **place))
            if pane.label is not None:
                shown = layers.Labels(hatched(pane.label), colormap=colors, name=pane.title, **place)
                shown.editable = False
                self._labels.append((self._add(shown), pane.label))
        if region is not None:
            for pane, place in zip(panes, self._places, strict=True):
                if pane.label is not None:
                    self._add(_frame(layers, region, place))
        self._add(_titles(layers, panes, self._places))
        self.look()
        self.home()

    def home(self) -> None:
        """Bring all of the item into view."""
        self.viewer.reset_view(layers=[layer for layer in self.viewer.layers if layer.metadata.get(_OWN)])

    def look(self) -> None:
        """Show labels as `opacity`, `hidden` and `differs` say."""
        apart = None
        if self.differs and len(self._labels) > 1:
            apart = self._labels[0][1] != self._labels[1][1]
        for layer, label in self._labels:
            layer.data = hatched(label) if apart is None else np.where(apart, label, np.uint8(NO_LABEL))
            layer.opacity = self.opacity
            layer.visible = not self.hidden
        if self.drawing is not None:
            self._labels[self._under][0].visible = False
            self.drawing.opacity = self.opacity
            self.drawing.visible = not self.hidden

    def begin(self, label: LabelMap, base: int) -> None:
        """Put a label on top to draw on, with napari's own tools.

        Args:
            label: (H, W), as `Session.begin` returns it.
            base: which suggestion it began with; -1: nothing.
        """
        self.end()
        self._under = max(base, 0)
        layers = need("napari.layers", "napari")
        colors = colormap(self.categories, eraser=IGNORE if base < 0 else None)
        self.drawing = layers.Labels(label, colormap=colors, name="your drawing", **self._place_of(self._under))
        self._add(self.drawing)
        self.drawing.brush_size = max(3, round(min(label.shape) / 40))
        self.drawing.mode = "paint"
        self.hidden = self.differs = False
        self.look()
        self.viewer.layers.selection.active = self.drawing

    def begin_region(self) -> None:
        """Put a layer on top on which one rectangle is dragged."""
        self.end()
        layers, place = need("napari.layers", "napari"), self._place_of(0)
        width = _line(self._labels[0][1].shape)
        self.rectangle = layers.Shapes(
            None, ndim=2, name="to be ignored", edge_width=width, edge_color="white", face_color="#80808080", **place
        )
        self._add(self.rectangle)
        self.rectangle.mode = "add_rectangle"
        self.viewer.layers.selection.active = self.rectangle

    def paint(self, category: int) -> None:
        """Choose what is painted: a category's position, or `IGNORE`."""
        if self.drawing is not None:
            self.drawing.selected_label = category

    @property
    def drawn(self) -> LabelMap | None:
        """The label that is drawn on, None if none is."""
        return None if self.drawing is None else np.asarray(self.drawing.data, np.uint8)

    @property
    def region(self) -> Box | None:
        """The rectangle that was dragged last, None if none was."""
        if self.rectangle is None or not self.rectangle.data:
            return None
        return box_of(np.asarray(self.rectangle.data[-1])[:, -2:])

    def end(self) -> None:
        """Take what is drawn on out again."""
        for layer in (self.drawing, self.rectangle):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self.drawing = self.rectangle = None
        self.look()

    def _add(self, layer: Any) -> Any:
        layer.metadata[_OWN] = True
        self.viewer.add_layer(layer)
        return layer

    def _place_of(self, which: int) -> dict[str, Any]:
        """Return where a suggestion's label lies."""
        layer = self._labels[which][0]
        return {"translate": tuple(layer.translate), "scale": tuple(layer.scale)}


def _places(panes: Sequence[Pane]) -> list[dict[str, Any]]:
    """Return scale and place of pictures in a row or a column, whichever shows them larger, each at one height."""
    height, width = panes[0].image.shape[:2]
    in_row, in_column = min(_ROOM / (len(panes) * width), 1 / height), min(_ROOM / width, 1 / (len(panes) * height))
    row = in_row >= in_column
    gap = _GAP * (width if row else 2 * height)  # between rows, there is a title
    found, at = list[dict[str, Any]](), 0.0
    for pane in panes:
        scale = height / pane.image.shape[0] if row else width / pane.image.shape[1]
        found.append({"scale": (scale, scale), "translate": (0.0, at) if row else (at, 0.0)})
        at += scale * pane.image.shape[1 if row else 0] + gap
    return found


def _frame(layers: Any, region: Box, place: Mapping[str, Any]) -> Any:
    """Return a frame around a region, white on black."""
    left, top, right, bottom = (edge - 0.5 for edge in region)
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    width = _line((right - left, bottom - top))
    shown = layers.Shapes(
        [corners, corners],
        shape_type="rectangle",
        edge_width=[2.5 * width, width],
        edge_color=["black", "white"],
        face_color="transparent",
        name="the region",
        **place,
    )
    shown.editable = False
    return shown


def captions(texts: Sequence[str]) -> dict[str, Any]:
    """Return what makes points of napari's texts that begin there."""
    return {
        "features": {"title": list(texts)},
        "text": {"string": "{title}", "anchor": "lower_left", "size": 11, "color": "white"},
        "size": 0.1,
        "face_color": "transparent",
        "border_color": "transparent",
    }


def _titles(layers: Any, panes: Sequence[Pane], places: Sequence[Mapping[str, Any]]) -> Any:
    """Return the panes' titles, above them."""
    points = np.array([place["translate"] for place in places], np.float64)
    points[:, 0] -= 0.01 * panes[0].image.shape[0]
    shown = layers.Points(points, name="titles", **captions([pane.title for pane in panes]))
    shown.editable = False
    return shown


def _line(size: Sequence[float]) -> float:
    """Return how wide a line is, in pixels, that frames something of a size."""
    return max(0.5, min(size) / 80)
