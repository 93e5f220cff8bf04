"""maskwright: from a folder of images with few masks to the best segmentation model they can give."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskwright.recipe import Recipe as Recipe

_PUBLIC = {
    "Categories": "maskwright.types",
    "Category": "maskwright.types",
    "Prediction": "maskwright.types",
    "Recipe": "maskwright.recipe",
    "RunFolder": "maskwright.artifacts",
    "Sample": "maskwright.types",
    "Teacher": "maskwright.train.teacher",
    "apply_settings": "maskwright.recipe",
    "evaluate_folders": "maskwright.evaluate",
    "load_recipe": "maskwright.recipe",
    "make_playground": "maskwright.data.synthetic",
    "predict_folder": "maskwright.predict",
    "run": "maskwright.pipeline",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Load public names on first use, so that importing the package loads no torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("maskwright")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'maskwright' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
