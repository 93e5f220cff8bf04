"""The tables of the numbers that describe a whole data set: names, definitions and what computes them."""

from __future__ import annotations

from dataclasses import dataclass

from maskwright.metrics.panoptic import (
    PanopticFunction,
    mean_pq,
    mean_pq_dagger,
    mean_precision_at_iou_50,
    mean_rq,
    mean_sq,
)
from maskwright.metrics.scores import (
    Summary,
    SummaryFunction,
    mean_dice,
    mean_iou,
    mean_pixel_accuracy,
    mean_precision,
    mean_recall,
    pixel_accuracy,
    pooled_mdice,
    pooled_miou,
    pooled_mprecision,
    pooled_mrecall,
)

SUMMARIES: dict[str, Summary[SummaryFunction]] = {
    "mean_dice": Summary(
        "mean_dice",
        "Dice of every evaluated category in each image, averaged over the categories that are in its truth or its "
        "prediction, then over images.",
        mean_dice,
    ),
    "mean_iou": Summary(
        "mean_iou",
        "IoU of every evaluated category in each image, averaged over the categories that are in its truth or its "
        "prediction, then over images.",
        mean_iou,
    ),
    "pooled_miou": Summary(
        "pooled_miou",
        "IoU of every evaluated category from the pixels of all images together, averaged over categories.",
        pooled_miou,
    ),
    "pooled_mdice": Summary(
        "pooled_mdice",
        "Dice of every evaluated category from the pixels of all images together, averaged over categories.",
        pooled_mdice,
    ),
    "mean_precision": Summary(
        "mean_precision",
        "Share of the predicted pixels of every evaluated category that are right in each image (0 where it is missed "
        "altogether), averaged over the categories that are in its truth or its prediction, then over images.",
        mean_precision,
    ),
    "mean_recall": Summary(
        "mean_recall",
        "Share of the true pixels of every evaluated category that are found in each image (0 where it is predicted "
        "without being there), averaged over the categories that are in its truth or its prediction, then over images.",
        mean_recall,
    ),
    "pooled_mprecision": Summary(
        "pooled_mprecision",
        "Share of the predicted pixels of every evaluated category that are right in all images together (0 where it "
        "is missed altogether), averaged over categories.",
        pooled_mprecision,
    ),
    "pooled_mrecall": Summary(
        "pooled_mrecall",
        "Share of the true pixels of every evaluated category that are found in all images together, averaged over "
        "categories (the field's mean class accuracy).",
        pooled_mrecall,
    ),
    "pixel_accuracy": Summary(
        "pixel_accuracy",
        "Share of the pixels of all images together whose category is right, those of left-out categories as well.",
        pixel_accuracy,
    ),
    "mean_pixel_accuracy": Summary(
        "mean_pixel_accuracy",
        "Share of the pixels of each image whose category is right, those of left-out categories as well, averaged "
        "over images.",
        mean_pixel_accuracy,
    ),
}
"""Every summary metric by its name."""

PANOPTIC_SUMMARIES: dict[str, Summary[PanopticFunction]] = {
    "pq": Summary(
        "pq",
        "Panoptic quality of every evaluated category from the segments of all images together, averaged over the "
        "categories that have any.",
        mean_pq,
    ),
    "sq": Summary(
        "sq",
        "Mean IoU of the matched segments of every evaluated category in all images together (0 where none is), "
        "averaged over the categories that have segments.",
        mean_sq,
    ),
    "rq": Summary(
        "rq",
        "F1 of the segments of every evaluated category in all images together, matched where the IoU is above .5, "
        "averaged over the categories that have segments.",
        mean_rq,
    ),
    "pq_dagger": Summary(
        "pq_dagger",
        "Panoptic quality with, for stuff, the IoU in the images that show the category instead of matches (Porzi "
        "2019), averaged over the categories that have segments.",
        mean_pq_dagger,
    ),
    "precision_at_iou_50": Summary(
        "precision_at_iou_50",
        "Share of the predicted segments of every evaluated category that match at IoU .5 in all images together, "
        "without recall or ranking (it is not AP), averaged over the categories that have segments.",
        mean_precision_at_iou_50,
    ),
}
"""Every summary metric of panoptic counts by its name."""


@dataclass(frozen=True)
class Measure:
    """A number that each image and category has by itself.

    Attributes:
        name: key of its mean in `evaluation.json`.
        column: its name in `per_image.parquet`.
        definition: what the mean is, in one sentence; `{tolerance}` and `{width}` are filled in.
        distance: in pixels, and 0 where truth and prediction are empty; otherwise a share that is not defined there.
    """

    name: str
    column: str
    definition: str
    distance: bool = False


_OVER_SHARES = "averaged over the categories that are in its truth or its prediction, then over images."
_OVER_DISTANCES = "averaged over categories (0 for one that is in neither), then over images."

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "mean_boundary_iou",
            "boundary_iou",
            "Boundary IoU (Cheng 2021) of every evaluated category in each image, of the pixels within {width} of a "
            f"mask's own border, {_OVER_SHARES}",
        ),
        Measure(
            "mean_boundary_f",
            "boundary_f",
            "Boundary F (Csurka 2013) of every evaluated category in each image, the harmonic mean of the shares of "
            f"either surface within {{tolerance}} of the other, {_OVER_SHARES}",
        ),
        Measure(
            "mean_nsd",
            "nsd",
            "Normalised surface Dice of every evaluated category in each image, the share of both surfaces' pixels "
            f"within {{tolerance}} of the other surface, {_OVER_SHARES}",
        ),
        Measure(
            "mean_hausdorff",
            "hausdorff",
            "Hausdorff distance in pixels of every evaluated category in each image (the diagonal where one of truth "
            f"and prediction is empty), {_OVER_DISTANCES}",
            distance=True,
        ),
        Measure(
            "mean_hd95",
            "hd95",
            "Larger one of both directions' 95th percentiles of surface distances in pixels of every evaluated "
            f"category in each image (the diagonal where one of truth and prediction is empty), {_OVER_DISTANCES}",
            distance=True,
        ),
        Measure(
            "dental_score",
            "dental_score",
            "0.4 Dice + 0.3 IoU + 0.3 (1 - Hausdorff distance / diagonal) of every evaluated category in each image, "
            f"as in the STS challenge, {_OVER_SHARES}",
        ),
    )
}
"""Every number of single images by the name of its mean."""
