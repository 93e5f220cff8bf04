"""What the audit says of all images together: outliers, balance, and how alike domains and label sources are."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from maskwright.recipe.spec import Spec


class OutlierSpec(Spec):
    """Images that are unlike the others."""

    kind: Literal["mahalanobis", "one_class_svm", "both", "none"] = "mahalanobis"
    """Whose cut flags an image; none: nothing is ranked. Each ranking stands in audit/outliers.parquet."""
    components: int = Field(8, ge=1, le=43)
    """Principal components of the features, at most one for ten images."""
    covariance: Literal["min_cov_det", "ledoit_wolf"] = "min_cov_det"
    """Of the Mahalanobis distance: robust against up to a quarter of outliers, or shrunk towards a ball."""
    quantile: float = Field(0.999, gt=0.5, lt=1)
    """Of the fitted χ²: the cut of the Mahalanobis distance; a higher one flags fewer."""
    nu: float = Field(0.5, gt=0, lt=1)
    """Share of images outside of the support vector machine's border."""
    share: float = Field(0.01, ge=0, le=0.5)
    """Share of the images that the one-class support vector machine flags: the cut of its ranking."""
    label_maps: bool = True
    """Also flag different images that carry the very same label map."""
    decision: Literal["keep", "drop"] = "keep"
    """keep: listed, and used like any other image. drop: listed, and left out of everything that follows."""


class BalanceSpec(Spec):
    """What is counted, and what is compared."""

    area_bins: tuple[float, ...] = Field((0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 1), min_length=2)
    """Edges of the bins for the share of an image that a category covers; the last bin includes its end."""
    parts_as_sources: bool = False
    """Compare the labels' style between given parts too, as if each part were a label source."""
    samples: int = Field(999, ge=99)
    """Permutations of each test of domains and of label sources."""
    level: float = Field(0.05, gt=0, lt=1)
    """Family-wise error rate from which a difference of style is called more than chance (after Holm)."""

    @field_validator("area_bins")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(value)) or value[0] < 0 or value[-1] > 1:
            raise ValueError("the edges must rise from 0 on to at most 1")
        return value
