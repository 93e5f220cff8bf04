"""Which network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.networks import OwnModelSpec
from maskwright.recipe.spec import PythonSpec, Spec


class UNetSpec(Spec):
    """A U-Net (Ronneberger et al. 2015) on any convolutional encoder of timm, through segmentation-models-pytorch."""

    kind: Literal["unet"] = "unet"
    encoder: str | None = None
    """timm name, such as resnet18; null: chosen by the probe for the time there is."""
    encoder_weights: str = "auto"
    """auto: pretrained weights if they are cached, else none; none; or the path of a state-dict file."""
    decoder_channels: tuple[int, ...] | None = Field(None, min_length=3, max_length=5)
    """Channels of the decoder levels, deepest first; as many as encoder levels used; null: chosen by the probe."""
    output_stride: Literal[1, 2, 4] | None = None
    """Stride of the decoder's last level; 2 and 4 save the costliest ones; null: chosen by the probe."""


class PythonModelSpec(PythonSpec):
    """A network of your own: `target(in_channels=…, classes=…, **arguments)` returns an nn.Module giving logits.

    With several `levels` it is called with `levels=…`, too, and returns a list of logits in training, the finest first.
    """

    kind: Literal["python"] = "python"


ModelSpec = Annotated[UNetSpec | OwnModelSpec | PythonModelSpec, Field(discriminator="kind")]
