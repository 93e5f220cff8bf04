"""What is fitted on predictions, nested: chosen on some folds and scored on the others."""

from maskwright.tune.chain import FoldChoice, Tuned, chain_gain, tune_chain
from maskwright.tune.counting import Chain, Read, ReadImage
from maskwright.tune.weights import Fitted, Mixture, fit_fusion

__all__ = [
    "Chain",
    "Fitted",
    "FoldChoice",
    "Mixture",
    "Read",
    "ReadImage",
    "Tuned",
    "chain_gain",
    "fit_fusion",
    "tune_chain",
]
