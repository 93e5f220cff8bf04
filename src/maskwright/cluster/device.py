"""Where points are: NumPy, or torch on a device."""

from __future__ import annotations

from maskwright.cluster.points import Floats, NumPyPoints, Points


def points_on(points: Floats, device: str | None) -> Points:
    """Return scaled points, in NumPy for None, else as torch's on a device; torch is only loaded for that."""
    if device is None:
        return NumPyPoints(points)
    from maskwright.cluster.torch_points import TorchPoints

    return TorchPoints.of(points, device)
