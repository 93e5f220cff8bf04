"""Objectness: the probability that an instance is a true one, learned from out-of-fold instances beside their truth.

A logistic regression on standardised numbers, their squares and a few products, calibrated on what it says of images
that it wasn't fitted on, whole groups at a time. It is stored as plain numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.instances.features import FEATURES

LEAST = 30
"""Fewest instances that anything is learned from."""
LEAST_OF_A_KIND = 5
"""Fewest true ones, and fewest false ones."""

_PRODUCTS = (
    ("log_area", "log_roundness"),
    ("log_area", "agreement"),
    ("log_area", "contrast"),
    ("spread", "separation"),
    ("spread", "agreement"),
)
_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse strengths of the penalty that are tried."""
_FOLDS = 5
_FURTHEST = 4.0
"""Standard deviations beyond which a number counts as that far away."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objectness:
    """A fitted classifier of instances; without weights it is the default.

    The default, where nothing could be learned from instances, is the agreement: the mean probability of the
    instance's category inside it; 1 where that isn't known.

    Attributes:
        centre: (F,) mean of each of `FEATURES`, which stands in for NaN.
        scale: (F,) standard deviation of each.
        weights: (F + F + products,) of the numbers, their squares and products.
        bias: log odds of an average instance.
        strength: of the penalty, as its inverse, chosen by the log loss on groups left out.
        instances: it was fitted on.
        true: how many of them were true.
        missed: true ones that none of them matched.
        least: half of the best F1 that they let expect: leaving out what is less likely true than that gives it.
    """

    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    bias: float = 0.0
    strength: float = 0.0
    instances: int = 0
    true: int = 0
    missed: int = 0
    least: float = 0.5

    def predict(self, features: Floats) -> Floats:
        """Return (K,) probabilities of being true.

        Args:
            features: (K, F) of `instance_features`.
        """
        _check_columns(features)
        if not self.weights:
            agreement = features[:, FEATURES.index("agreement")]
            return np.where(np.isnan(agreement), 1.0, agreement)
        terms = _expanded(features, np.array(self.centre), np.array(self.scale))
        logits = terms @ np.array(self.weights) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))), np.float64)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data."""
        return {"features": FEATURES, **asdict(self)}

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(self.to_plain(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Objectness:
        """Read what `to_json` wrote.

        Raises:
            DataError: it isn't that, or one of other features.
        """
        try:
            return cls.from_plain(json.loads(text))
        except ValueError as error:
            raise _unreadable(f"something else ({error})") from None

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Objectness:
        """Return what `to_plain` made.

        Raises:
            DataError: it isn't that, or one of other features.
        """
        try:
            values = dict(plain)
            features = tuple(values.pop("features"))
            values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
            found = cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _unreadable(f"something else ({error})") from None
        lengths = tuple(map(len, (found.centre, found.scale, found.weights)))
        if features != FEATURES or lengths not in ((0, 0, 0), (len(FEATURES),) * 2 + (_terms(),)):
            raise _unreadable("one of another version, with other features")
        return found


class ObjectScores(NamedTuple):
    """How likely instances are true.

    Attributes:
        probabilities: (K,) of the ids 1..K.
        least: that of an instance that is worth its risk, as `Objectness.least`.
    """

    probabilities: Floats
    least: float


def object_scores(judge: Objectness, features: Floats) -> ObjectScores | None:
    """Return how likely instances are true, None where nothing could be learned.

    Args:
        judge: of the instances.
        features: (K, F) of `instance_features`.
    """
    return ObjectScores(judge.predict(features), judge.least) if judge.weights else None


def best_least(probabilities: Floats, missed: int) -> float:
    """Return the probability from which on instances are worth keeping: half of the best F1 that can be expected.

    Of K instances kept of which Σp are true, and T true ones altogether, F1 is 2 Σp / (K + T); one more makes it better
    where its own p is above half of what it is (Lipton, Elkan, Naryanaswamy 2014). F1 of instances is the recognition
    quality of PQ.

    Args:
        probabilities: (K,) calibrated, of the instances.
        missed: true ones that none of them matches.

    Example:
        >>> best_least(np.array([1.0, 1.0, 0.0]), 0), best_least(np.array([1.0, 0.0]), 2)
        (0.5, 0.25)
    """
    ordered = np.sort(probabilities)[::-1]
    reached = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum() + missed)
    return float(reached.max() / 2)


def fit_objectness(features: Floats, truth: Floats, groups: npt.ArrayLike, *, missed: int = 0) -> Objectness:
    """Return the classifier of instances, the default one where there are fewer than 30, or than 5 of a kind, or where
    none of what is known of them tells true from false.

    The strength of the penalty is the one with the least log loss on groups left out, and what is said of these
    calibrates the result (Platt 1999). The same instances in the same order give the same numbers.

    Args:
        features: (K, F) of `instance_features`, of instances that were predicted on images which the network had not
            learned from.
        truth: (K,) of `truly_matched`: 1, 0, or NaN, which is left out.
        groups: (K,) the group of each instance's image, or the image; those of a group are left out together.
        missed: true ones of these images that none of the instances matches.
    """
    _check_columns(features)
    known = ~np.isnan(truth)
    features, target, groups = features[known], truth[known] > 0.5, np.asarray(groups)[known]
    true, false = int(target.sum()), int((~target).sum())
    if true + false < LEAST or min(true, false) < LEAST_OF_A_KIND:
        return Objectness(instances=true + false, true=true, missed=missed)
    folds = list(_folds(target, groups))
    tried = {strength: _left_out(features, target, folds, strength) for strength in _STRENGTHS}
    strength = min(tried, key=lambda one: _log_loss(tried[one], target))
    slope, shift = _platt(tried[strength], target)
    if not slope:  # a constant ranks nothing, and below ½ it would leave out every instance
        return Objectness(instances=true + false, true=true, missed=missed)
    centre, scale = _standard(features)
    weights, bias = _logistic(_expanded(features, centre, scale), target, strength)
    logits = np.where(np.isnan(tried[strength]), bias, tried[strength])
    return Objectness(
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple((slope * weights).tolist()),
        bias=slope * bias + shift,
        strength=strength,
        instances=true + false,
        true=true,
        missed=missed,
        least=best_least(1 / (1 + np.exp(-np.clip(slope * logits + shift, -500, 500))), missed),
    )


def _expanded(features: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return (K, terms): standardised numbers, their squares less 1, and the products."""
    standard = np.where(np.isnan(features), 0.0, (features - centre) / scale).clip(-_FURTHEST, _FURTHEST)
    pairs = [[FEATURES.index(name) for name in pair] for pair in _PRODUCTS]
    products = np.stack([standard[:, a] * standard[:, b] for a, b in pairs], axis=1)
    squares = np.where(np.isnan(features), 0.0, standard**2 - 1)
    return np.concatenate([standard, squares, products], axis=1)


def _terms() -> int:
    return 2 * len(FEATURES) + len(_PRODUCTS)


def _standard(features: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each column's numbers; 0 and 1 where there are none or all are alike."""
    known = ~np.isnan(features)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, features, 0).sum(axis=0) / counts
    scale = np.sqrt((np.where(known, features - centre, 0) ** 2).sum(axis=0) / counts)
    return centre, np.where(scale > 1e-12, scale, 1.0)


def _folds(target: npt.NDArray[np.bool_], groups: npt.NDArray[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield which instances are fitted on and which are left out, whole groups where there are several."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = len(np.unique(groups))
    if count < 2:
        yield from StratifiedKFold(_FOLDS).split(target, target)
        return
    for fitted, left in StratifiedGroupKFold(min(_FOLDS, count)).split(target, target, groups):
        if len(left):
            yield fitted, left


def _left_out(features: Floats, target: npt.NDArray[np.bool_], folds: list[tuple[Any, Any]], strength: float) -> Floats:
    """Return (K,) log odds, each by a classifier that has seen nothing of the instance's group, NaN for none."""
    found = np.full(len(target), np.nan)
    for fitted, left in folds:
        if target[fitted].all() or not target[fitted].any():  # the groups left out hold all of a kind: nothing known
            continue
        centre, scale = _standard(features[fitted])
        weights, bias = _logistic(_expanded(features[fitted], centre, scale), target[fitted], strength)
        found[left] = _expanded(features[left], centre, scale) @ weights + bias
    return found


def _logistic(terms: Floats, target: npt.NDArray[np.bool_], strength: float) -> tuple[Floats, float]:
    """Return weights and bias of a penalised logistic regression."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=2000, tol=1e-8).fit(terms, target)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _platt(logits: Floats, target: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and shift that calibrate log odds, NaN left out; 0 and 0 where they say nothing.

    By Platt's targets, (n + 1) / (n + 2) for n true ones and 1 / (m + 2) for m false ones, no slope is without end.
    """
    from scipy.optimize import minimize

    true, false = int(target.sum()), int((~target).sum())
    aim = np.where(target, (true + 1) / (true + 2), 1 / (false + 2))
    said = ~np.isnan(logits)
    if not said.any():
        return 0.0, 0.0
    logits, aim = logits[said], aim[said]

    def loss(at: Floats) -> tuple[float, Floats]:
        z = at[0] * logits + at[1]
        apart = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - aim
        return float((np.logaddexp(0, z) - aim * z).sum()), np.array([apart @ logits, apart.sum()])

    slope, shift = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x.tolist()
    return (slope, shift) if slope > 0 else (0.0, 0.0)


def _log_loss(logits: Floats, target: npt.NDArray[np.bool_]) -> float:
    said = ~np.isnan(logits)
    return float((np.logaddexp(0, logits[said]) - target[said] * logits[said]).mean()) if said.any() else 0.0


def _check_columns(features: Floats) -> None:
    if features.ndim != 2 or features.shape[1] != len(FEATURES):
        raise DataError(
            problem(
                f"{len(FEATURES)} numbers an instance: {', '.join(FEATURES)}",
                f"an array of {features.shape}",
                where="objectness",
                next_move="use what `instance_features` returns",
            )
        )


def _unreadable(got: str) -> DataError:
    return DataError(problem("a classifier of instances", got, where="objectness", next_move="fit it anew"))
