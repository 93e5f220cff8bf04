"""Pictures of single images: pairs that the audit found, and predictions beside the truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import polars as pl
from PIL import Image

from maskwright.data.formats.files import name_of
from maskwright.errors import MaskwrightError
from maskwright.pictures import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    data_uri,
    encode,
    error_map,
    fit,
    framed,
    overlay,
    to_rgb8,
)
from maskwright.predict.uncertainty import entropy, to_gray
from maskwright.progress import track
from maskwright.report.blocks import Group, Picture, Strip, number
from maskwright.report.collect import PARTS, Artifacts, css, image_scores
from maskwright.types import IGNORE, Array, LabelMap

LONGEST = 360
"""Longer side of the pictures, in pixels."""

EXAMPLE = 560
"""Longer side of those that can be looked at alone."""

SMALL_FILE = 150_000
"""Audit pictures up to this many bytes are embedded as they are; larger ones are made smaller."""

UNSURE = "#fde737"
"""Colour of what the networks are most unsure of: the upper end of cividis, which all eyes see as brightness."""

_FRAMED = 3
"""Suspect regions framed in one picture."""

_UNREADABLE = (OSError, ValueError, SyntaxError, MaskwrightError, cv2.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Gallery:
    """Makes pictures of the images of a run.

    Attributes:
        artifacts: the run.
        read_image: path → (H, W, C) of any dtype.
        read_label: path of a mask (or of instances, where there is no mask) → (H, W) uint8 category positions.
    """

    artifacts: Artifacts
    read_image: Callable[[Path], Array]
    read_label: Callable[[Path], LabelMap]

    def pairs(self, findings: pl.DataFrame, most: int) -> list[Strip]:
        """Return the first pairs of a kind of finding; where masks disagree, they are drawn on the images."""
        rows = findings.filter(pl.col("other_image").is_not_null()).head(most)
        return [self.strip("", "", lambda r=row: self._pair(r)) for row in rows.iter_rows(named=True)]  # type: ignore[misc]

    def examples(self, most: int) -> list[Group]:
        """Return the worst, the median and the best images by Dice, `most` of each, without repeats."""
        if self.artifacts.per_image is None or most == 0:
            return []
        scores = image_scores(self.artifacts.per_image, self.artifacts.categories).rows(named=True)
        total = len(scores)
        k = min(most, max(1, total // 3))
        middle = (total - k) // 2
        chosen = {
            "Worst images": scores[:k],
            "Median images": scores[middle : middle + k] if total >= 3 * k else [],
            "Best images": scores[-k:][::-1] if total >= 2 * k else [],
        }
        return [
            Group(
                title,
                strips=[
                    self._example(row, f"Dice {number(row['dice'])}") for row in track(rows, f"report: {title.lower()}")
                ],
            )
            for title, rows in chosen.items()
            if rows
        ]

    def farthest(self, distances: pl.DataFrame, most: int) -> list[Group]:
        """Return the images whose boundaries are farthest off, but those that are among the worst by Dice anyway.

        Args:
            distances: columns image, category and hd95, farthest first.
            most: how many.
        """
        if self.artifacts.per_image is None or most == 0:
            return []
        scores = image_scores(self.artifacts.per_image, self.artifacts.categories)
        shown = scores["image"].head(min(most, max(1, scores.height // 3)))
        rows = distances.filter(~pl.col("image").is_in(shown.to_list())).head(max(1, most // 2)).rows(named=True)
        strips = [
            self._example(row, f"HD95 of {row['category']} {number(row['hd95'], 1)} pixels")
            for row in track(rows, "report: farthest boundaries")
        ]
        return [Group("Farthest boundaries", strips=strips)] if strips else []

    def drawn(self, path: Path, name: str, note: str) -> Strip:
        """Return a picture of an image that the run drew as a JPEG."""

        def picture() -> list[Picture]:
            data = path.read_bytes()
            with Image.open(path) as file:
                return [Picture(data_uri(data, "image/jpeg"), f"Objects of {name}", file.width, file.height)]

        return self.strip(name, note, picture)

    def suspects(self, images: pl.DataFrame, regions: pl.DataFrame, most: int) -> list[Strip]:
        """Return the first images, beside each its mask with the first regions framed."""
        names = images["image"].to_list()[:most]
        return [self.strip(name, "", lambda n=name: self._framed(n, regions)) for name in names]  # type: ignore[misc]

    def beside(self, name: str, others: Mapping[str, Gallery]) -> list[Picture]:
        """Return an image, its truth, and what each of several runs predicts of it."""
        palette, skip = self.artifacts.categories.palette(), self._untinted()
        image, truth = self._image(name, EXAMPLE), self._truth(name, EXAMPLE)
        pictures = [_picture(image, f"Image {name}", "image")]
        if truth is not None:
            pictures.append(_picture(overlay(image, truth, palette, skip=skip), f"Truth drawn on {name}", "truth"))
        for run, gallery in others.items():
            if (label := gallery._prediction(name, EXAMPLE)) is not None:
                tinted = overlay(image, label, palette, skip=skip)
                pictures.append(_picture(tinted, f"Prediction of {run} drawn on {name}", run))
        return pictures

    def legend(self) -> list[tuple[str, str]]:
        """Return (CSS colour, meaning) of what the pictures show."""
        categories = self.artifacts.categories
        names = [(css(c.color), c.name) for c in categories.items]
        unsure = [(UNSURE, "uncertainty: the brighter, the less sure")] if self._unsure() else []
        if not categories.binary:
            return [*names, ("#ffffff", "error where the true colour is gray"), ("hatch", "not judged"), *unsure]
        return [
            *names[1:],
            (css(FALSE_POSITIVE), "error: found where there is none"),
            (css(FALSE_NEGATIVE), "error: missed"),
            ("hatch", "not judged"),
            *unsure,
        ]

    def _example(self, row: dict[str, Any], score: str) -> Strip:
        facts = [score]
        if row.get("part"):
            facts.append(
                {"oof": "out of fold", "holdout": "held out"}.get(row["part"], PARTS.get(row["part"], row["part"]))
            )
        if (fold := row.get("fold")) is not None and fold >= 0:
            facts.append(f"fold {fold}")
        name = str(row["image"])
        if (group := row.get("group")) not in (None, name):
            facts.append(f"group {group}")
        digest = hashlib.blake2b(f"{score} {name}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        part, switch = str(row.get("part") or ""), f"show-{digest}"
        shown = self.strip(name, ", ".join(facts), lambda: self._panels(name, part), switch=switch)
        return replace(shown, link=self._link(name))

    def strip(self, title: str, note: str, make: Callable[[], Sequence[Picture]], *, switch: str = "") -> Strip:
        """Return the pictures that `make` returns as a strip, or one that says why there are none."""
        try:
            return Strip(title, make(), note, switch=switch)
        except _UNREADABLE as error:
            why = str(error).splitlines()[0] if str(error) else repr(error)
            told = "Can’t be shown." if self.artifacts.hidden else f"Can’t be shown: {why}"  # it may name the file
            return Strip(title, note=note, problem=told)

    def _panels(self, name: str, part: str) -> list[Picture]:
        categories = self.artifacts.categories
        image, truth = self._image(name, EXAMPLE), self._truth(name, EXAMPLE)
        prediction = self._prediction(name, EXAMPLE)
        pictures = [_picture(image, f"Image {name}", "image")]
        for label, caption in ((truth, "truth"), (prediction, "prediction")):
            if label is not None:
                tinted = overlay(image, label, categories.palette(), skip=self._untinted())
                pictures.append(_picture(tinted, f"{caption.capitalize()} drawn on {name}", caption))
        if truth is not None and prediction is not None:
            errors = error_map(truth, prediction, categories.palette(), image=image, binary=categories.binary)
            pictures.append(_picture(errors, f"Wrong pixels of {name} in colour", "errors"))
        if (doubt := self._doubt(name, part, image.shape[:2])) is not None:
            told = f"Uncertainty of {name}: the brighter, the less sure the networks are"
            pictures.append(_picture(doubt, told, "uncertainty"))
        return pictures

    def _unsure(self) -> bool:
        """Tell whether probabilities were kept, which uncertainty is read from."""
        return any(self.artifacts.probabilities(part).folder.is_dir() for part in PARTS if part)

    def _doubt(self, name: str, part: str, size: tuple[int, ...]) -> Array | None:
        """Return the entropy of the probabilities of an image as a picture of (H, W), None without them."""
        store, stem = self.artifacts.probabilities(part), name_of(self.artifacts.file_of(name))
        if not part or stem not in store:
            return None
        probabilities = store.read(stem)
        step = max(1, max(probabilities.shape[1:]) // EXAMPLE)
        found = cv2.resize(entropy(probabilities[:, ::step, ::step]), size[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(cv2.applyColorMap(to_gray(found), cv2.COLORMAP_CIVIDIS)[..., ::-1])

    def _link(self, name: str) -> str:
        """Return the address of the whole image from the page, none where names are hidden."""
        if self.artifacts.hidden:
            return ""
        page = (self.artifacts.folder / "predictions").resolve()
        return quote(os.path.relpath(self.artifacts.locate(name).resolve(), page))

    def _framed(self, name: str, regions: pl.DataFrame) -> list[Picture]:
        boxes = regions.filter(pl.col("image") == name).select("top", "left", "height", "width").head(_FRAMED).rows()
        image, truth = to_rgb8(self.read_image(self.artifacts.locate(name))), self._label(name)
        pictures = [_picture(fit(image, LONGEST), f"Image {name}", "image")]
        if truth is not None:
            tinted = overlay(image, truth, self.artifacts.categories.palette(), skip=self._untinted())
            shown = fit(framed(tinted, boxes), LONGEST)
            pictures.append(_picture(shown, f"Mask drawn on {name}, suspect regions framed", "mask"))
        return pictures

    def _pair(self, row: dict[str, Any]) -> list[Picture]:
        masks = "conflict" in str(row["kind"]) or "mask" in str(row["kind"])
        pictures = []
        for name in (str(row["image"]), str(row["other_image"])):
            image = self._image(name)
            truth = self._truth(name) if masks else None
            if truth is not None:
                image = overlay(image, truth, self.artifacts.categories.palette(), skip=self._untinted())
            what = "Mask drawn on" if truth is not None else "Image"
            pictures.append(_picture(image, f"{what} {name}", name))
        return pictures

    def _untinted(self) -> list[int]:
        counted = self.artifacts.categories.evaluated
        return [p for p in range(len(self.artifacts.categories)) if p not in counted]

    def _image(self, name: str, longest: int = LONGEST) -> Array:
        return to_rgb8(fit(self.read_image(self.artifacts.locate(name)), longest))

    def _truth(self, name: str, longest: int = LONGEST) -> LabelMap | None:
        label = self._label(name)
        return None if label is None else fit(label, longest)

    def _label(self, name: str) -> LabelMap | None:
        row = self.artifacts.index.filter(pl.col("image") == name).head(1).to_dicts()
        file = next((row[0][c] for c in ("mask", "instances") if row and row[0].get(c)), None)
        return None if file is None else self.read_label(self.artifacts.locate(file))

    def _prediction(self, name: str, longest: int) -> LabelMap | None:
        file = self.artifacts.label_file(name)
        if not file.is_file():
            return None
        with Image.open(file) as picture:  # Pillow keeps the values of a palette PNG, OpenCV gives its colours
            ids = fit(np.asarray(picture), longest)
        label: LabelMap = np.full(ids.shape[:2], IGNORE, np.uint8)
        for position, value in enumerate(self.artifacts.categories.ids):
            label[ids == value] = position
        return label


def audit_pictures(artifacts: Artifacts, most: int = 12) -> list[Strip]:
    """Return the charts that the audit drew."""
    strips = []
    for path in artifacts.audit_pictures[:most]:
        title = path.stem.replace("_", " ").replace("-", " ")
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            strips.append(Strip(title, problem=f"Can’t be shown: {path.name} is no readable picture"))
        elif path.stat().st_size <= SMALL_FILE:
            uri = data_uri(path.read_bytes(), "image/png")
            picture = Picture(uri, f"Audit: {title}", pixels.shape[1], pixels.shape[0])
            strips.append(Strip(title, [picture]))
        else:
            rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            strips.append(Strip(title, [_picture(fit(rgb, 1000), f"Audit: {title}", "")]))
    return strips


def _picture(pixels: Array, alt: str, caption: str) -> Picture:
    uri = data_uri(encode(pixels, "webp", 78), "image/webp")
    return Picture(uri, alt, pixels.shape[1], pixels.shape[0], caption)
