"""Prediction: trained networks over files, out-of-fold or as an ensemble."""

from maskwright.predict.files import load_ensemble, predict_files, predict_folder, to_full_size

__all__ = ["load_ensemble", "predict_files", "predict_folder", "to_full_size"]
