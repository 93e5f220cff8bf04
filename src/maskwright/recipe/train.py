"""How long, how fast and on what a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from maskwright.recipe.optimise import AdamWSpec, CosineSpec, OptimizerSpec, RateSpec
from maskwright.recipe.spec import Spec

Side = Annotated[int, Field(ge=1, le=16384)]


class TrainSpec(Spec):
    """The training section. Null fields are decided by a short probe and written into the resolved recipe."""

    start: str | None = None
    """Run folder whose networks training starts from, each fold from one that hasn't seen its validation images; or a
    checkpoint; null: from scratch, or from the encoder's weights."""
    start_unchecked: bool = False
    """Start also where the older training has seen, or may have seen, images that are validated or held out now; their
    scores are then too good, and the report says so."""
    minutes: float | None = Field(None, gt=0)
    """Budget for the training of all folds together, rounds of self-training included; null: `steps` says how long."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps of one fold; null: from `epochs` or `minutes`."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the training images of a fold; null: `steps` or `minutes` say how long."""
    batch: int | None = Field(None, ge=1)
    """Crops in a step."""
    scale: Annotated[float, Field(gt=0, le=4)] | tuple[Side, Side] | None = None
    """Factor from the image's size to the size that the network works at; or [height, width] that every image is
    resized to, whatever its own proportions."""
    crop: tuple[Side, Side] | None = None
    """Height and width of a crop after scaling, in pixels; multiples of 32."""
    accumulate: int = Field(1, ge=1)
    """Parts in which the crops of a step pass through the network, their gradients added up: less memory, and the same
    step, whatever is ignored, but for what is computed over a batch (batch norm, Dice and Lovász over the batch)."""
    optimizer: OptimizerSpec = AdamWSpec()
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    head_lr: float = Field(1.0, gt=0)
    """Factor on the rate of all that isn't the encoder."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the rate from each layer of the encoder to the one before it; 1: none, 0.65 to 0.9 for pretrained
    transformers."""
    weight_decay: float = Field(0.02, ge=0)
    """Weight decay; norms and biases have none."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly; then `schedule` begins."""
    schedule: RateSpec = CosineSpec()
    clip: float | None = Field(1.0, gt=0)
    """Largest gradient norm; null: any."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Momentum of the averaged network that is validated and shipped; ramped up from 0 (0: none)."""
    swa: float | None = Field(None, ge=0, lt=1)
    """Share of the steps after which the network that is validated and shipped is the plain mean of all the following
    (stochastic weight averaging, in the place of `ema`); null: no."""
    validate_every: int | None = Field(None, ge=1)
    """Steps between validations and checkpoints."""
    monitor: Literal["auto", "mean_dice", "mean_iou", "pooled_miou"] = "auto"
    """The metric that picks best.ckpt; auto: mean_dice for binary tasks, pooled_miou otherwise."""
    keep: int = Field(1, ge=1, le=50)
    """How many of the best checkpoints are kept; from 2 on as top-STEP.ckpt, too."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the probe finds it faster."""
    channels_last: bool | None = None
    """Memory format; null: where the probe finds it faster."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, faster steps after; needs a C++ compiler. The
    probe's figures are those of steps that aren't compiled."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a CUDA device where there is one, else the processor; gpu: a CUDA device, or the training ends at once."""
    devices: int = Field(1, ge=1)
    """Devices, a process each, that share every step: each takes batch / devices crops."""
    threads: int | None = Field(None, ge=1)
    """Threads of PyTorch's operators in each process; null: the cores of this machine, shared by the processes."""
    workers: int = Field(1, ge=0)
    """Threads that prepare batches."""
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """Also send the curves to these tools; each needs its extra, such as `pip install 'maskwright[tensorboard]'`."""
    cache: float = Field(0.25, ge=0, le=0.9)
    """Share of free memory that decoded images may take; above it they are read at every use."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.steps and self.validate_every and self.steps % self.validate_every:
            raise ValueError(f"steps ({self.steps}) must be a multiple of validate_every ({self.validate_every})")
        if self.batch and self.batch % self.devices:
            raise ValueError(f"batch ({self.batch}) must be a multiple of devices ({self.devices})")
        if self.batch and self.batch % (self.devices * self.accumulate):
            parts = f"devices × accumulate ({self.devices} × {self.accumulate})"
            raise ValueError(f"batch ({self.batch}) must be a multiple of {parts}")
        return self
