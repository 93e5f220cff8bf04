"""Which encoder: what all networks that have one share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.layers import Activation, Normalization
from maskwright.recipe.spec import Spec


class EncoderSpec(Spec):
    """What all networks with an encoder share."""

    encoder: str | None = None
    """timm name: convolutional or pyramidal (resnet18, efficientnet_b0, convnext_atto …), or a plain ViT (EVA-02, SAM,
    DINOv2, DINOv3 …), which gets a feature pyramid; hf:NAME: SAM's through transformers, such as
    hf:facebook/sam-vit-base; null: chosen by the probe."""
    encoder_weights: str = "auto"
    """auto: pretrained weights if they are cached (`maskwright weights fetch`), else none; cached: these or an error;
    none; or the path of a state-dict file. The plan writes down what auto has come to."""
    encoder_arguments: dict[str, object] = Field(default_factory=dict)
    """More arguments of timm.create_model, such as drop_path_rate."""
    pyramid_channels: int = Field(256, ge=8)
    """Channels of each level of a plain ViT's feature pyramid."""
    activation: Activation | None = None
    """What takes the place of the network's own activations; null: they stay."""
    normalization: Normalization | None = None
    """What takes the place of the network's own normalisations; null: they stay."""
    replace_in: Literal["decoder", "network"] = "decoder"
    """Where these two are replaced; the encoder's own ones belong to its pretrained weights."""
    embedding: EmbeddingSpec | None = None
    """What the network gives out besides logits, from which instances are clustered; null: nothing."""

    @field_validator("encoder_arguments")
    @classmethod
    def _brings_no_weights(cls, value: dict[str, object]) -> dict[str, object]:
        if named := sorted(key for key in value if key.startswith(("pretrained", "checkpoint", "cache_dir"))):
            raise ValueError(
                f"{', '.join(named)}: weights come by encoder_weights (auto, cached, none or a file), and only "
                "`maskwright weights fetch` goes to a network"
            )
        return value
