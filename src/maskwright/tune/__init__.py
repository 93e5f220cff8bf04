"""What is fitted on predictions, nested: chosen on some folds and scored on the others."""

from maskwright.tune.chain import Chain, Read, Tuned, tune_chain
from maskwright.tune.weights import Fitted, Mixture, fit_fusion

__all__ = ["Chain", "Fitted", "Mixture", "Read", "Tuned", "fit_fusion", "tune_chain"]
