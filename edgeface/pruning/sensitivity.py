"""How much the embedding turns when a group loses its weakest channels.

The paper gives each residual block a ratio "according to the sensitivity of its filters" and no formula. Here a
group's sensitivity is 1 - mean cosine between the embeddings of the whole network and of the network with the group's
`probe` weakest channels silenced, over a batch of faces; or, where the network is to be refitted, with them predicted
from the others (`edgeface.pruning.repair`). No labels are needed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import Group, groups
from edgeface.pruning.importance import Importance
from edgeface.pruning.repair import as_if_gone

__all__ = ["sensitivity"]


def sensitivity(
    model: FaceNet,
    faces: Tensor,
    rank: Importance,
    probe: float = 0.5,
    progress: Callable[[str], None] | None = None,
    refit: Tensor | None = None,
) -> dict[str, float]:
    """Sensitivity of every group.

    Args:
        model: the network, in evaluation mode.
        faces: (N, 3, H, W) float in [-1, 1].
        rank: how channels are ranked.
        probe: share of a group's channels that goes.
        progress: called with each group's name when it is done.
        refit: (M, 3, H, W) other faces, where the network will be refitted.

    Returns:
        group name -> 1 - mean cosine, in [0, 2].
    """
    found: dict[str, float] = {}
    as_if = as_if_gone(model, refit, blocks=False)
    with torch.inference_mode():
        whole = model(faces)
        for group in groups(model.spec):
            with as_if.narrowed(group.name, weakest(rank(model, group), group, probe)):
                turned = model(faces)
            cosine = torch.nn.functional.cosine_similarity(whole, turned).mean()
            found[group.name] = 1.0 - float(cosine)
            if progress:
                progress(group.name)
    return found


def weakest(scores: Tensor, group: Group, share: float) -> Tensor:
    """Indices of the `share` lowest-scored channels of a group, at least one, never all."""
    count = min(max(1, round(group.width * share)), group.width - 1)
    return torch.argsort(scores, stable=True)[:count]
