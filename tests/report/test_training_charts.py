"""Charts of a training: losses, scores, and what was kept of a pool's labels."""

from __future__ import annotations

import polars as pl

from maskwright.report.training_charts import training_charts


def test_one_line_a_category_and_the_mean_over_folds():
    first = pl.DataFrame({"step": [2, 4], "kept_root": [0.2, 0.4], "share_root": [0.1, 0.2], "kept_never": [None] * 2})
    second = pl.DataFrame(
        {"step": [2, 4], "kept_root": [0.4, None], "share_root": [0.3, 0.2], "kept_never": [None] * 2}
    )
    charts = training_charts({"fold 0": first, "fold 1": second})
    assert len(charts) == 2
    assert "kept" in str(charts[0])
    assert "never" not in str(charts[0])  # no label of it at all


def test_a_training_without_a_pool_has_its_loss_and_scores_of_both_parts():
    table = pl.DataFrame(
        {"step": [1, 2], "loss": [0.5, 0.4], "pooled_miou": [0.3, 0.4], "train_pooled_miou": [0.5, 0.6]}
        | {"iou_root": [0.3, 0.4], "train_iou_root": [0.5, 0.6]}
    )
    titles = [chart.caption for chart in training_charts({"fold 0": table})]
    assert len(titles) == 5
    assert titles[0] == "Loss on training images"
    assert "validation images" in titles[1]
    assert "training crops" in titles[2]
    assert titles[3].startswith("IoU of each category on validation")
    assert titles[4].startswith("IoU of each category on training")


def test_the_class_prior_and_the_thresholds_are_drawn():
    table = pl.DataFrame({"step": [2, 4], "prior_root": [0.2, 0.3], "threshold_root": [0.5, 0.6]})
    charts = [str(chart) for chart in training_charts({"fold 0": table})]
    assert len(charts) == 2
    assert "the class prior" in charts[1]
