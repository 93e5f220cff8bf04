"""What counts as a target that was reached, and what is measured at all."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import main_job, training_step


def test_a_step_is_judged_by_the_upper_end_of_what_it_takes_longer():
    bare = np.full(60, 0.010)
    sure = training_step.difference_row(bare + 0.001, bare)
    unsure = training_step.difference_row(bare + np.linspace(0.0004, 0.0024, 60), bare)
    assert sure.comparison.high == pytest.approx(1)
    assert unsure.comparison.value <= 1.5 < unsure.comparison.high
    assert (sure.reached, unsure.reached) == (True, False)


def test_a_run_that_was_begun_is_not_timed(tmp_path):
    begun = tmp_path / "teeth-one-fold-0"
    begun.mkdir()
    (begun / "plan.json").write_text("{}")
    with pytest.raises(SystemExit, match="holds a run"):
        main_job.measure("teeth", "one fold", tmp_path / "none", 0, tmp_path)
