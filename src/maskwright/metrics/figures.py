"""All numbers that the evidence of some images allows, each with its definition and as a function of image weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.metrics.average_precision import cityscapes_ap, coco_ap, mean_ap
from maskwright.metrics.calibration import expected_calibration_error, maximum_calibration_error
from maskwright.metrics.detections import Detections
from maskwright.metrics.evidence import LEFT_OUT, Evidence
from maskwright.metrics.panoptic import (
    PanopticCounts,
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)
from maskwright.metrics.scores import (
    EmptyCases,
    Scores,
    image_mean,
    keras_miou,
    mean_over,
    pooled_dice,
    pooled_iou,
    pooled_precision,
    pooled_recall,
    weighted_mean,
)
from maskwright.metrics.summaries import MEASURES, PANOPTIC_SUMMARIES, SUMMARIES
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Array, Categories

_ALL_IMAGES = "all images (0 where neither truth nor prediction has it)"

Rows = Callable[[Array], Scores]
"""From (S, images) weights to (S, k) values."""


@dataclass(frozen=True)
class Figures:
    """Numbers that are computed together.

    Attributes:
        names: their k keys in `evaluation.json`.
        definitions: what each is, in a sentence or two.
        function: from (S, images) weights to (S, k) values.
    """

    names: tuple[str, ...]
    definitions: tuple[str, ...]
    function: Rows


def figures(evidence: Evidence, categories: Categories, spec: EvaluateSpec, *, each: bool = True) -> Iterator[Figures]:
    """Yield every number that there is evidence for: summaries first, then those of single categories.

    Args:
        evidence: of the images.
        categories: of its columns.
        spec: which definitions.
        each: also of each category, as `METRIC/NAME`.
    """
    yield from _pixels(evidence, categories, spec)
    yield from _measures(evidence, categories, spec)
    yield from _calibration(evidence)
    yield from _segments(evidence, categories)
    yield from _instances(evidence, categories, spec, each=each)
    if each:
        yield from _pixels_of_each(evidence, categories, spec)
        yield from _measures_of_each(evidence, categories, spec)
        yield from _segments_of_each(evidence, categories)


def _one(name: str, definition: str, function: Callable[[Array], Scores]) -> Figures:
    return Figures((name,), (definition,), lambda weights: function(weights)[:, None])


def _each(metric: str, names: Sequence[str], definitions: Sequence[str], function: Rows) -> Figures:
    return Figures(tuple(f"{metric}/{name}" for name in names), tuple(definitions), function)


def _pixels(evidence: Evidence, categories: Categories, spec: EvaluateSpec) -> Iterator[Figures]:
    counts, positions, cases = evidence.counts, categories.evaluated, EmptyCases.of(spec)
    for name, summary in SUMMARIES.items():
        yield _one(
            name,
            summary.definition + _cases_words(categories, spec),
            lambda weights, f=summary.function: f(counts, positions, weights, cases),  # type: ignore[misc]
        )
    if (wrong := evidence.columns.get(LEFT_OUT)) is not None:
        yield _one(
            "keras_miou",
            "Mean IoU as Keras' MeanIoU has it with the left-out categories ignored: pixels that truly are one don't "
            "count, but where one is predicted on other pixels it is in the mean with an IoU of 0.",
            lambda weights: keras_miou(counts, positions, wrong, weights),
        )


def _pixels_of_each(evidence: Evidence, categories: Categories, spec: EvaluateSpec) -> Iterator[Figures]:
    counts, absent = evidence.counts, EmptyCases.of(spec).absent
    left = ["" if p in categories.evaluated else " Left out of the means." for p in range(len(categories))]
    scores = {"iou": pooled_iou, "dice": pooled_dice, "precision": pooled_precision, "recall": pooled_recall}
    skipped = " Without truth it is left out." if absent == "skip" else ""
    words = {"iou": "IoU", "dice": "Dice", "precision": "Precision", "recall": "Recall"}
    for metric, score in scores.items():
        yield _each(
            metric,
            categories.names,
            [
                f"{words[metric]} of {name} from the pixels of all images together.{rest}{skipped}"
                for name, rest in zip(categories.names, left, strict=True)
            ],
            lambda weights, f=score: f(counts.pooled(weights), absent=absent),  # type: ignore[misc]
        )


def _measures(evidence: Evidence, categories: Categories, spec: EvaluateSpec) -> Iterator[Figures]:
    for measure in MEASURES.values():
        if (column := evidence.columns.get(measure.column)) is not None:
            of_images = mean_over(column, categories.evaluated)
            definition = measure.definition.format(tolerance=tolerance_words(spec), width=width_words(spec))
            yield _one(
                measure.name,
                definition,
                lambda weights, v=of_images: weighted_mean(v[:, None], weights)[:, 0],  # type: ignore[misc]
            )


def _measures_of_each(evidence: Evidence, categories: Categories, spec: EvaluateSpec) -> Iterator[Figures]:
    positions = categories.evaluated
    names = [categories.names[p] for p in positions]
    for measure in MEASURES.values():
        if (column := evidence.columns.get(measure.column)) is not None:
            metric = measure.name.removeprefix("mean_")
            of = _ALL_IMAGES if measure.distance else "the images where truth or prediction has it"
            definitions = [f"`{measure.column}` of {name}, averaged over {of}; see {measure.name}." for name in names]
            yield _each(
                metric,
                names,
                definitions,
                lambda weights, v=column[:, positions]: weighted_mean(v, weights),  # type: ignore[misc]
            )


def _cases_words(categories: Categories, spec: EvaluateSpec) -> str:
    """Return what else decides a summary: the empty cases that differ from the default, and categories left out."""
    said = " A category in neither truth nor prediction of an image counts 1." if spec.empty == "one" else ""
    said += " Pooled, categories without truth are left out." if spec.absent == "skip" else ""
    if len(categories.evaluated) < len(categories):
        said += f" Categories: {', '.join(categories.names[p] for p in categories.evaluated)}."
    return said


def tolerance_words(spec: EvaluateSpec) -> str:
    """Return within what a surface is right, in words."""
    if spec.tolerance is None:
        return "0.75 % of the diagonal (at least a pixel)"
    return f"{spec.tolerance:g} pixel{'' if spec.tolerance == 1 else 's'}"


def width_words(spec: EvaluateSpec) -> str:
    """Return how wide the borders of boundary IoU are, in words."""
    width = spec.boundary_width
    return "2 % of the diagonal" if width is None else f"{width} pixel{'' if width == 1 else 's'}"


def _calibration(evidence: Evidence) -> Iterator[Figures]:
    if (counts := evidence.calibration) is None:
        return
    yield _one(
        "ece",
        f"Expected calibration error (Guo 2017) over {counts.pixels.shape[1]} equal bins of the highest probability "
        "of each pixel, before post-processing, from the pixels of all images together.",
        lambda weights: np.asarray(expected_calibration_error(counts.pooled(weights))),
    )
    yield _one(
        "mce",
        "Largest difference between accuracy and mean confidence of any of these bins.",
        lambda weights: np.asarray(maximum_calibration_error(counts.pooled(weights))),
    )


def _segments(evidence: Evidence, categories: Categories) -> Iterator[Figures]:
    if (counts := evidence.segments) is None:
        return
    positions, things = categories.evaluated, categories.things
    parts = {"things": [p for p in positions if p in things], "stuff": [p for p in positions if p not in things]}
    for name, summary in PANOPTIC_SUMMARIES.items():
        yield _one(
            name,
            summary.definition,
            lambda weights, f=summary.function: f(counts, positions, things, weights),  # type: ignore[misc]
        )
        for part, own in parts.items() if all(parts.values()) else ():
            yield _one(
                f"{name}_{part}",
                f"{summary.definition} {part.capitalize()} alone.",
                lambda weights, f=summary.function, p=own: f(counts, p, things, weights),  # type: ignore[misc]
            )


def _segments_of_each(evidence: Evidence, categories: Categories) -> Iterator[Figures]:
    if (counts := evidence.segments) is None:
        return
    scores: dict[str, Callable[[PanopticCounts], Scores]] = {
        "pq": panoptic_quality,
        "sq": segmentation_quality,
        "rq": recognition_quality,
    }
    positions = categories.evaluated
    names = [categories.names[p] for p in positions]
    for metric, score in scores.items():
        yield _each(
            metric,
            names,
            [f"{metric.upper()} of {name} from the segments of all images together." for name in names],
            lambda weights, f=score: f(counts.pooled(weights))[:, positions],  # type: ignore[misc]
        )


def _things(categories: Categories) -> list[int]:
    return [p for p in categories.evaluated if categories.items[p].isthing]


def _instances(evidence: Evidence, categories: Categories, spec: EvaluateSpec, *, each: bool) -> Iterator[Figures]:
    positions, columns = _things(categories), evidence.columns
    if "sbd" in columns:
        yield _one(
            "sbd",
            "Symmetric best Dice (Scharr 2016) of the instances of every evaluated category in each image, averaged "
            "over the categories that have any, then over images.",
            lambda weights: image_mean(columns["sbd"], positions, weights),
        )
        yield _one(
            "count_difference",
            "|DiC|: the absolute difference between the numbers of predicted and of true instances of every evaluated "
            "category in each image, averaged over categories, then over images.",
            lambda weights: image_mean(np.abs(columns["count_difference"]), positions, weights),
        )
    if evidence.detections is not None:
        yield _average_precision(evidence.detections, categories, spec, each=each)


def _average_precision(detections: Detections, categories: Categories, spec: EvaluateSpec, *, each: bool) -> Figures:
    """Return AP and AP50, and AP of each category: all at once, as it takes longer than any other number."""
    positions, rule = _things(categories), _AP_RULES[spec.ap_definition]
    function = {"coco": coco_ap, "cityscapes": cityscapes_ap}[spec.ap_definition]
    listed = [categories.names[p] for p in positions] if each else []
    of = f"Average precision {rule}"
    over = "averaged over thresholds and the categories that have instances."

    def scores(weights: Array) -> Scores:
        ap = function(detections, weights=weights, absent=spec.absent)  # (S, n, t)
        means = [mean_ap(ap, positions), mean_ap(ap[..., :1], positions)]
        single = [mean_ap(ap, [p]) for p in positions] if each else []
        return np.stack([*means, *single], axis=1)

    return Figures(
        ("ap", "ap50", *(f"ap/{name}" for name in listed)),
        (
            f"{of} at IoU .5 to .95 in steps of .05, {over}",
            f"{of} at IoU .5, averaged over the categories that have instances.",
            *(f"{of} of {name} at IoU .5 to .95 in steps of .05." for name in listed),
        ),
        scores,
    )


_AP_RULES = {
    "coco": "by COCO's rules (101 recalls, envelope of precision, at most 100 detections an image and category)",
    "cityscapes": "by Cityscapes' rules (IoU above the threshold, instances under 100 pixels and groups left out)",
}
