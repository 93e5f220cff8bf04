"""Which device a training runs on."""

import torch

from maskwright.errors import UsageError, problem
from maskwright.inference import pick_device


def training_device(accelerator: str) -> torch.device:
    """Return the device that the recipe's `train.accelerator` means on this machine.

    Apple's GPUs aren't used: they lack the double precision that sums over many pixels are taken in.

    Raises:
        UsageError: `gpu`, where PyTorch finds no CUDA device. (Predictions do without it.)
    """
    device = pick_device(accelerator)
    if accelerator == "gpu" and device.type == "cpu":
        raise UsageError(
            problem(
                "a CUDA device, as train.accelerator: gpu says",
                "none that PyTorch finds on this machine",
                where="train.accelerator",
                next_move="set it to auto or cpu (--set train.accelerator=auto), or check the driver with "
                "`python -c 'import torch; print(torch.cuda.is_available())'`",
            )
        )
    return device
