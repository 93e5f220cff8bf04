"""The pipeline: which tasks, in which order, from a data folder to a report."""

import maskwright.recipe  # noqa: F401  before torch, as in maskwright.train
from maskwright.pipeline.run import STAGES, progress_of, run

__all__ = ["STAGES", "progress_of", "run"]
