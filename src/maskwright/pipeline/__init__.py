"""The pipeline: which tasks, in which order, from a data folder to a report."""

from maskwright.pipeline.run import STAGES, progress_of, run

__all__ = ["STAGES", "progress_of", "run"]
