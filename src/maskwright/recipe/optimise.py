"""How the weights are changed: the optimizer, and how its rate changes over the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskwright.recipe.spec import Spec

Share = Annotated[float, Field(ge=0, lt=1)]


class AdamWSpec(Spec):
    """AdamW (Loshchilov and Hutter 2019): decay apart from the gradient."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Momenta of the gradient and of its square."""


class SGDSpec(Spec):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: Share = 0.9
    """Momentum of the gradient."""
    nesterov: bool = False
    """Look ahead along the momentum."""


OptimizerSpec = Annotated[AdamWSpec | SGDSpec, Field(discriminator="kind")]


class CosineSpec(Spec):
    """Fall as half a cosine."""

    kind: Literal["cosine"] = "cosine"
    to: float = Field(0.0, ge=0, le=1)
    """Share of the peak rate that is left at the end."""


class StepSpec(Spec):
    """Fall by a factor at equal distances."""

    kind: Literal["step"] = "step"
    every: float = Field(5 / 150, gt=0, le=1)
    """Distance of the falls as a share of the training: 0.0333 is every 5th of 150 epochs."""
    factor: float = Field(0.75, gt=0, le=1)
    """What the rate is multiplied by at each."""


class PolynomialSpec(Spec):
    """Fall as (1 − progress) to a power; 0.9 is DeepLab's."""

    kind: Literal["polynomial"] = "polynomial"
    power: float = Field(0.9, gt=0)
    """Exponent."""


class PlateauSpec(Spec):
    """Fall by a factor whenever the metric that picks best.ckpt hasn't risen for some validations."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(2, ge=0)
    """Validations without a rise that are waited for; the next one lowers the rate."""
    factor: float = Field(0.5, gt=0, lt=1)
    """What the rate is multiplied by."""
    threshold: float = Field(1e-4, ge=0)
    """Smallest rise that counts."""


class ConstantSpec(Spec):
    """Stay at the peak."""

    kind: Literal["constant"] = "constant"


RateSpec = Annotated[CosineSpec | StepSpec | PolynomialSpec | PlateauSpec | ConstantSpec, Field(discriminator="kind")]
