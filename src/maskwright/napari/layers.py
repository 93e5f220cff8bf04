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
        self._under = 0
        self._colors = colormap(categories)
        self._kinds = tuple[bool, ...]()
        self._labels: list[tuple[Any, LabelMap]] = []
        self._layers: dict[str, Any] = {}
        self._frame: Any = None

    def clear(self) -> None:
        """Take the item's layers out."""
        for layer in [layer for layer in self.viewer.layers if layer.metadata.get(_OWN)]:
            self.viewer.layers.remove(layer)
        self.drawing = self.rectangle = None
        self._labels, self._layers, self._frame = [], {}, None

    def show(self, panes: Sequence[Pane], region: Box | None = None) -> None:
        """Show an item, and what its question frames.

        Args:
            panes: pictures and labels.
            region: left, top, right and bottom in pixels, on every pane with a label.
        """
        self.end()
        kinds = tuple(pane.label is not None for pane in panes)
        if kinds != self._kinds or any(layer not in self.viewer.layers for layer in self._layers.values()):
            self.clear()  # else the layers stay, which spares seconds, and show other data
        self._kinds, self._labels = kinds, []
        if self._frame is not None and self._frame in self.viewer.layers:
            self.viewer.layers.remove(self._frame)
        self._frame = None
        if not panes:
            return
        places = _places(panes, self.viewer.canvas.size)
        for number, (pane, place) in enumerate(zip(panes, places, strict=True)):
            name = pane.title if pane.label is None else f"{pane.title} (image)"
            self._put(f"image {number}", "Image", pane.image, {"name": name, **place}, rgb=True)
            if pane.label is not None:
                layer = self._put(
                    f"label {number}",
                    "Labels",
                    hatched(pane.label),
                    {"name": pane.title, **place},
                    colormap=self._colors,
                )
                self._labels.append((layer, pane.label))
        self._caption(panes, places)
        if region is not None:
            self._frame = self._add(
                _frame(region, [p for p, pane in zip(places, panes, strict=True) if pane.label is not None])
            )
        self.look()
        self.home()

    def home(self) -> None:
        """Bring all of the item into view."""
        own = [layer for layer in self.viewer.layers if layer.metadata.get(_OWN)]
        self.viewer.reset_view(layers=own if self.viewer.dims.ndim == 2 else None)  # napari asks all for one dimension

    def look(self) -> None:
        """Show labels as `opacity`, `hidden` and `differs` say."""
        apart = None
        if self.differs and len(self._labels) > 1:
            apart = self._labels[0][1] != self._labels[1][1]
        for place, (layer, label) in enumerate(self._labels):
            layer.data = hatched(label) if apart is None else np.where(apart, label, np.uint8(NO_LABEL))
            layer.editable = False  # other data made it so
            covered = self.drawing is not None and place == self._under
            _fade(layer, self.opacity, visible=not self.hidden and not covered)
        if self.drawing is not None:
            _fade(self.drawing, self.opacity, visible=not self.hidden)

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
        self.hidden = self.differs = False
        self.look()
        self.viewer.layers.selection.active = self.drawing
        self.drawing.mode = "paint"

    def begin_region(self) -> None:
        """Put a layer on top on which one rectangle is dragged."""
        self.end()
        layers, place = need("napari.layers", "napari"), self._place_of(0)
        width = _line(self._labels[0][1].shape)
        self.rectangle = layers.Shapes(
            None, ndim=2, name="to be ignored", edge_width=width, edge_color="white", face_color="#80808080", **place
        )
        self._add(self.rectangle)
        self.viewer.layers.selection.active = self.rectangle
        self.rectangle.mode = "add_rectangle"

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
        gone = [layer for layer in (self.drawing, self.rectangle) if layer is not None]
        self.drawing = self.rectangle = None
        for layer in gone:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        if gone:
            self.look()

    def _add(self, layer: Any) -> Any:
        layer.metadata[_OWN] = True
        self.viewer.add_layer(layer)
        return layer

    def _put(self, role: str, kind: str, data: Array, shown: Mapping[str, Any], **more: Any) -> Any:
        """Return the layer of a role with other data, or a new one."""
        layer = self._layers.get(role)
        if layer is None:
            layer = self._add(getattr(need("napari.layers", "napari"), kind)(data, **shown, **more))
            self._layers[role] = layer
            return layer
        layer.data = data
        for name, value in shown.items():
            setattr(layer, name, value)
        return layer

    def _caption(self, panes: Sequence[Pane], places: Sequence[Mapping[str, Any]]) -> None:
        """Put the captions above the pictures."""
        points = np.array([place["translate"] for place in places], np.float64)
        words = captions([pane.caption for pane in panes])
        layer = self._put(
            "captions", "Points", points, {"name": "captions", "features": words.pop("features")}, **words
        )
        layer.editable = False

    def _place_of(self, which: int) -> dict[str, Any]:
        """Return where a suggestion's label lies."""
        layer = self._labels[which][0]
        return {"translate": tuple(layer.translate), "scale": tuple(layer.scale)}


def _places(panes: Sequence[Pane], canvas: tuple[float, float]) -> list[dict[str, Any]]:
    """Return scale and place of pictures in rows, as many as show them largest; the first row may be shorter.

    Args:
        panes: all are made as large as the first.
        canvas: height and width.
    """
    height, width = panes[0].image.shape[:2]
    gap = _GAP * max(height, width)

    def zoom(columns: int) -> float:
        rows = -(-len(panes) // columns)
        return float(min(canvas[0] / (rows * (height + gap)), canvas[1] / (columns * (width + gap))))

    columns = max(range(len(panes), 0, -1), key=zoom)
    empty = -len(panes) % columns
    found = list[dict[str, Any]]()
    for number, pane in enumerate(panes):
        row, column = divmod(number + (empty if number + empty >= columns else 0), columns)
        scale = min(height / pane.image.shape[0], width / pane.image.shape[1])
        found.append({"scale": (scale, scale), "translate": (row * (height + gap), column * (width + gap))})
    return found


def _frame(region: Box, places: Sequence[Mapping[str, Any]]) -> Any:
    """Return frames around a region in several places, white on black."""
    left, top, right, bottom = (edge - 0.5 for edge in region)
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    boxes = [corners * place["scale"][0] + place["translate"] for place in places]
    width = _line((right - left, bottom - top))
    shown = need("napari.layers", "napari").Shapes(
        [box for box in boxes for _ in range(2)],
        shape_type="rectangle",
        edge_width=[2 * width, width] * len(boxes),
        edge_color=["black", "white"] * len(boxes),
        face_color="transparent",
        opacity=1,
        name="the region",
    )
    shown.editable = False
    return shown


def captions(texts: Sequence[str]) -> dict[str, Any]:
    """Return what makes points of napari's texts that begin there."""
    return {
        "features": {"title": list(texts)},
        "text": {"string": "{title}", "anchor": "upper_left", "size": 11, "color": "white"},
        "size": 0.1,
        "face_color": "transparent",
        "border_color": "transparent",
    }


def _fade(layer: Any, opacity: float, *, visible: bool) -> None:
    layer.opacity = opacity
    if layer.visible is not visible:  # napari goes back to the mode that the layer had when it was hidden
        layer.visible = visible


def _line(size: Sequence[float]) -> float:
    """Return how wide a line is, in pixels, that frames something of a size."""
    return max(1.0, float(min(size)) / 40)
