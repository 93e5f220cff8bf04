"""The moving average of a network: one class for shipping, for teachers and for momentum networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from operator import is_
from typing import Any, Literal

import torch
from torch import nn

from maskwright.errors import UsageError, problem

Ramp = Literal["none", "inverse", "shipping"]

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel, DistributedDataParallel and torch.compile put before the names of a network's tensors."""


class Teacher(nn.Module):
    """An exponential moving average of a network's parameters and floating-point buffers; it labels images.

    Works with any PyTorch segmentation network, those that share parameters among modules and those whose parts are
    exchanged while it lives (by parts of the same shapes) included. Integer buffers are copied. It stays in evaluation
    mode, and its own state counts the updates, so it resumes. With `mean_from` it is the plain mean of all states after
    that (stochastic weight averaging, Izmailov et al. 2018; statistics of batch norm are averaged like the weights, not
    measured anew), and follows the network until then.

    Args:
        student: what is averaged; copied. Wrappers that copies of one network share (DataParallel,
            DistributedDataParallel, torch.compile) may come and go between updates.
        momentum: share that stays at each update; 1 freezes, 0 copies.
        ramp: how the share begins, t being how often the average has moved before. none: as it is, but the first
            update is a copy (SAC). inverse: min(momentum, 1 − 1 / (t + 1)), a copy at first, too (mean teacher,
            UniMatch V2). shipping: min(momentum, (1 + t) / (10 + t)), early weights are soon forgotten.
        every: calls of `update` of which only the first of each so many moves the average (SAC: 100).
        mean_from: updates after which the plain mean begins; None: the exponential one.
        read: what the network returns → its logits (N, C, H, W); default: a tensor as it is, the first of a list or
            tuple, `out` of a dictionary (torchvision's), `.logits` of an object (transformers').

    Example:
        >>> student = nn.Conv2d(3, 2, 1)
        >>> teacher = Teacher(student, 0.99, ramp="inverse")
        >>> optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        >>> images = torch.zeros(4, 3, 8, 8)
        >>> labels = teacher(images).argmax(1)
        >>> nn.functional.cross_entropy(student(images), labels).backward()
        >>> optimizer.step()
        >>> teacher.update(student)
        >>> teacher(images).shape
        torch.Size([4, 2, 8, 8])
    """

    updates: torch.Tensor
    _theirs: list[torch.Tensor]

    def __init__(
        self,
        student: nn.Module,
        momentum: float = 0.999,
        *,
        ramp: Ramp = "none",
        every: int = 1,
        mean_from: int | None = None,
        read: Callable[[Any], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        _check(momentum, ramp, every)
        self.network = _copied(student)
        self.momentum, self.ramp, self.every, self.mean_from = momentum, ramp, every, mean_from
        self.read = first_logits if read is None else read
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count: int | None = None
        self._theirs = []  # the student's, as they are paired with ours
        self._pairs: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, C, H, W) float32 probabilities of (N, channels, H, W) images, without a graph."""
        return self.read(self.network(images)).float().softmax(1)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student's present state; call after each step of its optimizer."""
        named = _tensors(student)
        theirs = list(named.values())
        if self._count is None or len(theirs) != len(self._theirs) or not all(map(is_, theirs, self._theirs)):
            # once, and after a state was loaded or one of both was moved: asking the buffer would wait for the device
            self._count, self._pairs, self._theirs = int(self.updates), self._paired(named), theirs
        if self._count % self.every == 0:
            (floating, their_floating), (others, their_others) = self._pairs
            if floating:
                torch._foreach_lerp_(floating, their_floating, 1 - self.stays(self._count))
            if others:
                torch._foreach_copy_(others, their_others)
        self._count += 1
        self.updates.fill_(self._count)

    def stays(self, count: int) -> float:
        """Return the share of the average that stays at the call of `update` after `count` others."""
        if self.mean_from is not None:
            averaged = max(0, count - self.mean_from) // self.every
            return averaged / (averaged + 1)
        if self.momentum == 1:
            return 1.0
        moved = count // self.every
        if self.ramp == "shipping":
            return min(self.momentum, (1 + moved) / (10 + moved))
        if self.ramp == "inverse":
            return min(self.momentum, 1 - 1 / (moved + 1))
        return self.momentum if moved else 0.0

    def _paired(self, theirs: dict[str, torch.Tensor]) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
        """Return ours, each once, and theirs: floating-point tensors, then the others."""
        own = [*self.network.named_parameters(), *self.network.named_buffers()]
        known = {_bare(name): tensor for name, tensor in theirs.items()}
        if missing := [name for name, _ in own if _bare(name) not in known]:
            raise UsageError(
                problem(
                    "the network that the teacher was made of, in the same parts",
                    f"one without {missing[0]}",
                    where="Teacher.update",
                    next_move="make the teacher after the network is put together: Teacher(student)",
                )
            )
        pairs = [(tensor, known[_bare(name)]) for name, tensor in own]
        kinds = ([p for p in pairs if p[0].is_floating_point()], [p for p in pairs if not p[0].is_floating_point()])
        return [([own for own, _ in kind], [other for _, other in kind]) for kind in kinds]

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._count = None

    def _apply(self, *arguments: Any, **options: Any) -> Teacher:
        self._count = None
        moved: Teacher = super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        return moved


def _copied(student: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, without gradients.

    Raises:
        UsageError: a part keeps what came out of a pass with a gradient, which can't be copied.
    """
    try:
        return copy.deepcopy(student).requires_grad_(False).eval()
    except RuntimeError as error:
        raise UsageError(
            problem(
                "a network that can be copied",
                str(error).splitlines()[0],
                where="Teacher",
                next_move="make the teacher before the first pass; instead of the older torch.nn.utils.weight_norm and "
                "spectral_norm use those of torch.nn.utils.parametrizations",
            )
        ) from error


def _bare(name: str) -> str:
    """Return the name of a tensor without those of wrappers.

    Example:
        >>> _bare("module._orig_mod.encoder.weight"), _bare("decoder.module.bias")
        ('encoder.weight', 'decoder.module.bias')
    """
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers by name; one that several modules share by all its names."""
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }


def first_logits(outputs: Any) -> torch.Tensor:
    """Return the logits among what a segmentation network returns.

    Raises:
        UsageError: there is no telling which they are.
    """
    if isinstance(outputs, dict):
        outputs = outputs.get("out", outputs.get("logits"))
    elif isinstance(outputs, list | tuple):
        outputs = outputs[0] if outputs else None
    elif not isinstance(outputs, torch.Tensor):
        outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, torch.Tensor):
        raise UsageError(
            problem(
                "a tensor, a list of them, a dictionary with `out`, or an object with `.logits`",
                type(outputs).__name__,
                where="what the teacher's network returns",
                next_move="pass Teacher(…, read=…), a function from that to logits (N, C, H, W)",
            )
        )
    return outputs


def _check(momentum: float, ramp: str, every: int) -> None:
    faults = [] if 0 <= momentum <= 1 else [("a momentum from 0 to 1", f"{momentum:g}")]
    faults += [] if ramp in ("none", "inverse", "shipping") else [("the ramp none, inverse or shipping", repr(ramp))]
    faults += [] if every >= 1 else [("every of at least 1", f"{every}")]
    for expected, got in faults:
        raise UsageError(problem(expected, got, where="Teacher", next_move="see its documentation"))
