"""What the report says of the ensemble beside its networks one by one."""

import json

from make_report import make_run, score, write
from maskwright.report.collect import collect
from maskwright.report.words import summary


def test_networks_alone_stand_beside_all_together(tmp_path):
    run = make_run(tmp_path)
    gain = {"value": 0.02, "low": -0.01, "high": 0.05, "n": 9, "definition": "paired"}
    alone = {"pooled_miou": score(0.5), "gain/pooled_miou": gain}
    older = {"pooled_miou": score(0.55), "mean_dice": score(None)}  # scored before gains were
    (run / "predictions/members.json").write_text(json.dumps({"holdout-fold-0": alone, "holdout-fold-1": older}))
    page = write(run)[1]
    assert "What the ensemble earned" in [words for _, words in page.headings]
    assert page.row("all together")[3] == "0.632 (0.582\u20130.682)"
    assert page.row("fold 0 alone")[3:] == ["0.500 (0.450\u20130.550)", "0.020 (-0.010 to 0.050)"]
    assert page.row("fold 1 alone")[1:] == ["–", "–", "0.550 (0.500\u20130.600)", "–"]
    assert "these are other images" in sure(run) and "stands with the scores" in sure(run)


def test_without_them_the_report_says_what_measures_it(tmp_path):
    run = make_run(tmp_path)
    assert "What the ensemble earned" not in [words for _, words in write(run)[1].headings]
    assert "these are other images" in sure(run) and "predict.members=true" in sure(run)


def sure(run):
    return next(" ".join(group.words) for group in summary(collect(run)) if group.title == "How sure that is")
