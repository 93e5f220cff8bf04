"""How far steps look: a window with that much around it has the labels of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.postprocess import apply_chain, reach
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, ThresholdSpec
from maskwright.recipe.steps import (
    ClosingSpec,
    FavourSpec,
    LargestSpec,
    MajoritySpec,
    OpeningSpec,
    SelectSpec,
    SmoothSpec,
    SplitSpec,
    StagedSpec,
)

CHAINS = {
    "none": ((), 2, 0),
    "gaussian": ((SmoothSpec(sigma=1.3),), 3, 5),
    "box": ((SmoothSpec(weights="box", size=7),), 3, 3),
    "favour": ((FavourSpec(category=1, factor=3),), 3, 0),
    "threshold": ((ThresholdSpec(value=0.4),), 2, 0),
    "majority": ((MajoritySpec(size=5),), 3, 2),
    "closing": ((ClosingSpec(size=5),), 3, 8),
    "opening of one": ((OpeningSpec(size=5, category=1),), 3, 4),
    "all": (
        (
            SmoothSpec(sigma=1),
            ThresholdSpec(value=0.45),
            MajoritySpec(size=3),
            ClosingSpec(size=3),
            OpeningSpec(size=5),
        ),
        2,
        4 + 1 + 2 + 4,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_window_with_its_surroundings_has_the_labels_of_the_whole(name):
    steps, categories, far = CHAINS[name]
    assert reach(steps, categories) == (len(steps), far)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(categories), (60, 70)).transpose(2, 0, 1).astype(np.float32)
    whole = apply_chain(probabilities, steps)
    rows, columns = slice(20, 37), slice(31, 33)
    around = probabilities[:, 20 - far : 37 + far, 31 - far : 33 + far]
    inner = apply_chain(around, steps)[far : far + 17, far : far + 2]
    assert np.array_equal(inner, whole[rows, columns])


@pytest.mark.parametrize(
    "step",
    [
        MinimumAreaSpec(pixels=5),
        FillHolesSpec(),
        LargestSpec(),
        SplitSpec(),
        SelectSpec(drop=0.1, high=0.3, lower=0.2),
        StagedSpec(),
    ],
)
def test_components_end_what_can_be_done_by_windows(step):
    assert reach((SmoothSpec(sigma=1), step, MajoritySpec(size=3)), 2) == (1, 4)
