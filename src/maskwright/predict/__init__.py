"""Prediction: trained networks over files, out-of-fold or as an ensemble."""

from maskwright.predict.files import load_ensemble, predict_files, to_full_size
from maskwright.predict.folder import predict_folder
from maskwright.predict.results import Shard

__all__ = ["Shard", "load_ensemble", "predict_files", "predict_folder", "to_full_size"]
