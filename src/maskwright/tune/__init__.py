"""What is fitted on predictions, nested: chosen on some folds and scored on the others."""

from maskwright.tune.chain import FoldChoice, Tuned, chain_gain, tune_chain
from maskwright.tune.counting import Chain, Read, ReadImage

__all__ = ["Chain", "FoldChoice", "Read", "ReadImage", "Tuned", "chain_gain", "tune_chain"]
