"""A dictionary model's trunk and head as one backend: the features between them can be kept, masked and embedded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import Backend
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError

__all__ = ["SplitBackend"]

Floats = npt.NDArray[np.float32]


class SplitBackend(Closing):
    """Trunk, then head. Safe to share between threads as far as they are; closes both.

    Args:
        trunk: input (N, 3, H, W) -> `features` (N, C, h, w).
        head: features -> `embedding` (N, E), unit rows.
        features: (C, h, w).
    """

    def __init__(self, trunk: Backend, head: Backend, features: tuple[int, int, int]) -> None:
        self.trunk = trunk
        self.head = head
        self.features = features
        self.name = trunk.name
        self.device = trunk.device

    def close(self) -> None:
        """Close trunk and head. Closing twice does nothing."""
        self.trunk.close()
        self.head.close()

    def run(self, batch: Floats) -> dict[str, Floats]:
        """`embedding` (N, E) without any mask, and `features` (N, C, h, w). See `Backend.run`.

        Raises:
            ArtefactError: the trunk gave something other than finite features.
        """
        features = self.trunk.run(batch).get("features")
        if features is None or features.shape[1:] != self.features or not np.isfinite(features).all():
            raise ArtefactError(
                f"the trunk gave no finite features of shape {self.features}: "
                "use --precision fp32, or export the bundle again"
            )
        return {"features": features, **self.head.run(features)}

    def describe(self) -> dict[str, Any]:
        """What really runs them; see `Backend.describe`."""
        return self.trunk.describe()
