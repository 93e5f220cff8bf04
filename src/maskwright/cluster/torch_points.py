"""Points on a device of torch: the same answers as `NumPyPoints`, with rounding of its own."""

from __future__ import annotations

import numpy as np
import torch

from maskwright.cluster.points import Floats, Indices
from maskwright.errors import UsageError, problem

_BLOCK = 1 << 24
"""Distances held at once."""
_ASKED = 32
"""Points are chosen in rounds of so many, after each of which the device is asked whether they are enough."""


class TorchPoints:
    """Points on a device; centres come and go as NumPy arrays."""

    def __init__(self, points: torch.Tensor) -> None:
        """Take (N, E) points, scaled so that a ball's radius is 1."""
        self._points = points
        self._half = points.square().sum(1) / 2

    @classmethod
    def of(cls, points: Floats, device: str) -> TorchPoints:
        """Bring points to a device.

        Raises:
            UsageError: torch has no such device here.
        """
        try:
            return cls(torch.from_numpy(np.ascontiguousarray(points)).to(device))
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                problem(
                    "a device that torch can use here",
                    device,
                    where="clustering",
                    next_move=f"use None for NumPy on the CPU ({str(error).splitlines()[0]})",
                )
            ) from None

    def __len__(self) -> int:
        return len(self._points)

    def rows(self, indices: Indices) -> Floats:
        """Return some points."""
        return self._points[self._to(indices)].cpu().numpy()

    def subset(self, indices: Indices) -> TorchPoints:
        """Return some points as points of their own."""
        return TorchPoints(self._points[self._to(indices)])

    @torch.inference_mode()
    def shifted(self, centres: Floats) -> tuple[Floats, Indices]:
        """Return means and counts of the balls around centres."""
        at = self._to(centres)
        least = (at.square().sum(1, keepdim=True) - 1) / 2
        sums = torch.zeros(at.shape, dtype=torch.float64, device=at.device)
        counts = torch.zeros(len(at), dtype=torch.int64, device=at.device)
        step = max(1, _BLOCK // max(1, len(at)))
        for points, half in zip(torch.split(self._points, step), torch.split(self._half, step), strict=True):
            near = at @ points.T - half >= least  # (S, B)
            sums += near.to(points.dtype) @ points
            counts += near.sum(1)
        means = (sums / counts[:, None]).to(at.dtype)
        return means.cpu().numpy(), counts.cpu().numpy()

    @torch.inference_mode()
    def nearest(self, centres: Floats) -> Indices:
        """Return the nearest centre of each point."""
        at = self._to(centres)
        half = at.square().sum(1) / 2
        step = max(1, _BLOCK // max(1, len(at)))
        found = [(points @ at.T - half).argmax(1) for points in torch.split(self._points, step)]
        return torch.cat(found).cpu().numpy()

    @torch.inference_mode()
    def spread(self, most: int, within: float) -> Indices:
        """Return points that are far apart."""
        points, norms = self._points, 2 * self._half
        away = torch.full_like(norms, torch.inf)
        last = norms.argmin()
        chosen, left = [last], []
        while True:
            square = norms - 2 * (points @ points[last]) + norms[last]
            square[last] = 0
            away = torch.minimum(away, square)
            last = away.argmax()
            left.append(away[last])
            if len(chosen) == most or len(chosen) % _ASKED == 0:
                far = torch.stack(left).cpu().numpy()
                enough = np.flatnonzero(far <= within**2)
                if len(enough) or len(chosen) == most:
                    count = int(enough[0]) + 1 if len(enough) else most
                    return torch.stack(chosen[:count]).cpu().numpy()
            chosen.append(last)

    def _to(self, array: Floats | Indices) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._points.device)
