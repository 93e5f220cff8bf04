"""Pretrained encoder weights: a file, or what is cached on this machine. Nothing here goes to a network."""

from __future__ import annotations

from pathlib import Path

from maskwright.errors import RecipeError, problem


def cached_weights(encoder: str, choice: str) -> str | None:
    """Return the path of the weights that `model.encoder_weights` means, None for training from scratch.

    Args:
        encoder: timm name.
        choice: `none`; `auto`: the Hugging Face cache, if they are there; else a file.

    Raises:
        RecipeError: the file is not there.
    """
    if choice == "none":
        return None
    if choice != "auto":
        if not Path(choice).is_file():
            raise RecipeError(
                problem(
                    "auto, none or a file", choice, where="model.encoder_weights", next_move="check the file's path"
                )
            )
        return choice
    return _from_cache(encoder)


def _from_cache(encoder: str) -> str | None:
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(encoder)
    if config is None or not config.hf_hub_id:
        return None
    for name in ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(config.hf_hub_id, name)
        if isinstance(path, str):
            return path
    return None
