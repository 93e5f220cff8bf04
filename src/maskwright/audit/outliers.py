"""Images that are unlike the others: two rankings by their features, and label maps that different images share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from maskwright.audit.features import Features
from maskwright.recipe.outliers import OutlierSpec

Values = npt.NDArray[np.float64]

_LEAST = 20
"""Images below which nothing is ranked: there is no crowd that one could stand out of."""
_FITTED = 5000
"""Images on which covariance and support vectors are fitted; all others are ranked by them."""
_POWERS = 20_000
"""Images on which the power transforms are fitted."""
_EACH = 10
"""Images that there are at least for each component."""
_MIDDLE, _UPPER = 0.5, 0.9
"""Quantiles of the distances that the cut is fitted to."""
_FEWEST, _MOST = 0.3, 2000.0
_EMBEDDED = 2000
_FARTHEST = 6.0
"""Where scaled features are clipped: one that a single image has must not hide all others."""


@dataclass(frozen=True)
class Ranking:
    """How far from the others each image is.

    Attributes:
        scores: (N,) larger is farther; NaN where nothing is ranked.
        cut: score above which an image is an outlier; NaN where nothing is ranked.
        about: how the cut came about, in words.
        freedom: degrees of freedom of the χ² that the cut is a quantile of, NaN for other rankings.
        scale: factor of that χ².
    """

    scores: Values
    cut: float
    about: str
    freedom: float = float("nan")
    scale: float = float("nan")

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        """Which images are beyond the cut, (N,)."""
        return np.asarray(self.scores > self.cut)


def components(table: Features, spec: OutlierSpec) -> Values:
    """Return the principal components of features.

    Each feature is brought to a bell shape by a Yeo-Johnson transform and clipped at 6 standard deviations, so that no
    feature with a long tail decides alone; then the first components are kept, at most one for ten images.

    Args:
        table: (N, F).
        spec: the recipe's section; its `components`.

    Returns:
        (N, k) float64, k = 0 if all images have the same features.
    """
    from sklearn.preprocessing import PowerTransformer

    rows = table.astype(np.float64)
    spread = rows.std(axis=0)
    varied = rows[:, spread > 1e-6 * (np.abs(rows).max(axis=0, initial=0) + 1e-6)]
    if varied.shape[1] == 0:
        return np.empty((len(rows), 0))
    varied = (varied - varied.mean(axis=0)) / varied.std(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow on the way to the best power
        transform = PowerTransformer().fit(_sample(varied, _POWERS))
        bell = np.clip(np.nan_to_num(transform.transform(varied)), -_FARTHEST, _FARTHEST)
    centred = bell - bell.mean(axis=0)
    share, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    count = min(spec.components, len(rows) // _EACH, int((share > 1e-6 * share[-1]).sum()))
    axes = axes[:, ::-1][:, :count]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])  # the same picture on every machine
    return np.asarray(centred @ (axes * signs))


def mahalanobis(scores: Values, spec: OutlierSpec) -> Ranking:
    """Rank images by the squared Mahalanobis distance of their components, with a robust covariance.

    For k Gaussian components the distances follow χ² with k degrees of freedom. Components of real images have longer
    tails, and that χ² would flag a tenth of them, so the cut is the quantile of the scaled χ² whose median and 90th
    percentile are those of the distances: up to a few percent of outliers hardly move it.

    Args:
        scores: (N, k) components.
        spec: the recipe's section: `quantile`, `covariance`.
    """
    if len(scores) < _LEAST or scores.shape[1] == 0:
        return _unranked(len(scores), scores.shape[1])
    model, name = _covariance(_sample(scores, _FITTED), spec)
    distances = np.asarray(model.mahalanobis(scores), np.float64)
    middle, upper = np.quantile(distances, [_MIDDLE, _UPPER])
    freedom = _freedom(upper / max(middle, 1e-12), scores.shape[1])
    scale = float(middle / stats.chi2.ppf(_MIDDLE, freedom))
    cut = float(scale * stats.chi2.ppf(spec.quantile, freedom))
    about = f"the {spec.quantile:g} quantile of {scale:.2f} · χ²({freedom:.1f}), {scores.shape[1]} components, {name}"
    return Ranking(distances, cut, about, freedom, scale)


def one_class_svm(scores: Values, spec: OutlierSpec) -> Ranking:
    """Rank images by how far outside of a one-class support vector machine's border they are (Schölkopf et al. 2001).

    The kernel is Gaussian with a tenth of scikit-learn's `scale` as gamma: a wider one, to which a small crowd of
    strangers is no crowd.

    Args:
        scores: (N, k) components.
        spec: the recipe's section: `nu`, `share`.

    Returns:
        Scores are the negative decision function; the cut flags at most a `share` of the images.
    """
    from sklearn.svm import OneClassSVM

    if len(scores) < _LEAST or scores.shape[1] == 0:
        return _unranked(len(scores), scores.shape[1])
    gamma = 0.1 / (scores.shape[1] * scores.var())
    machine = OneClassSVM(kernel="rbf", nu=spec.nu, gamma=gamma).fit(_sample(scores, _FITTED))
    outside = np.asarray(-machine.decision_function(scores), np.float64)
    flagged = int(spec.share * len(outside))
    cut = float(np.sort(outside)[len(outside) - flagged - 1])
    return Ranking(outside, cut, f"the farthest {spec.share:.1%}, nu {spec.nu:g}")


def shared_labels(digests: Sequence[str | None], clusters: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return groups of different images that carry the very same label map.

    Args:
        digests: hash of each image's label map; None where it has none, or one that says nothing.
        clusters: images that are duplicates of each other, whose label maps should be the same.

    Returns:
        Groups of at least two images, sorted; a group of duplicates alone is none.
    """
    cluster = {image: number for number, members in enumerate(clusters) for image in members}
    groups: dict[str, list[int]] = {}
    for image, digest in enumerate(digests):
        if digest is not None:
            groups.setdefault(digest, []).append(image)
    return [images for images in groups.values() if len({cluster.get(i, -1 - i) for i in images}) > 1]


def embed(scores: Values, keep: npt.NDArray[np.bool_], rng: np.random.Generator) -> Values:
    """Return a t-SNE map of some images (van der Maaten and Hinton 2008), for looking at, never for deciding.

    Args:
        scores: (N, k) components.
        keep: (N,) images that must be in it, the farthest at least; others are drawn at random up to 2000.
        rng: generator.

    Returns:
        (N, 2) float64, NaN for images that are not in it.
    """
    from sklearn.manifold import TSNE

    found = np.full((len(scores), 2), np.nan)
    if len(scores) < _LEAST or scores.shape[1] == 0:
        return found
    drawn = rng.permutation(len(scores))
    chosen = np.sort(np.concatenate([drawn[keep[drawn]], drawn[~keep[drawn]]])[:_EMBEDDED])
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    scaled = scores[chosen] / scores[chosen].std(axis=0).clip(1e-9)
    start = scaled[:, :2] * 1e-4 if scores.shape[1] > 1 else np.stack([scaled[:, 0] * 1e-4] * 2, axis=1)
    found[chosen] = TSNE(perplexity=perplexity, init=start, random_state=0, n_jobs=1).fit_transform(scaled)
    return found


def _unranked(count: int, width: int) -> Ranking:
    why = "no two images differ" if width == 0 and count >= _LEAST else f"fewer than {_LEAST} images"
    return Ranking(np.full(count, np.nan), float("nan"), f"not ranked: {why}")


def _sample(rows: Values, most: int) -> Values:
    """Return at most so many rows, evenly spread over all."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _covariance(rows: Values, spec: OutlierSpec) -> tuple[Any, str]:
    """Return a fitted covariance and its name; Ledoit and Wolf's where most images are so alike that none is robust."""
    from sklearn.covariance import LedoitWolf, MinCovDet

    if spec.covariance == "min_cov_det":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Determinant has increased")
            warnings.filterwarnings("error", message="The covariance matrix associated to your dataset is not full")
            try:
                return MinCovDet(support_fraction=0.75, random_state=0).fit(rows), "minimum covariance determinant"
            except (ValueError, UserWarning):
                pass
    return LedoitWolf().fit(rows), "Ledoit-Wolf covariance"


def _freedom(ratio: float, width: int) -> float:
    """Return the degrees of freedom of the χ² whose 90th percentile is so many times its median."""

    def excess(freedom: float) -> float:
        return float(stats.chi2.ppf(_UPPER, freedom) / stats.chi2.ppf(_MIDDLE, freedom) - ratio)

    if not excess(_FEWEST) > 0 > excess(_MOST):
        return float(width) if ratio > 1 else _MOST
    return float(optimize.brentq(excess, _FEWEST, _MOST))
