"""How much of the embedding every way of pruning leaves, before any recovery: no training, no labels.

Run: `python -m benchmarks.pruning_methods CKPT --data FACES [--ratio .1,.3,.5] [--steps 1,4] [--faces 64]`. Channels
are ranked, and sensitivity measured, on one half of 2 x `--faces` faces of FACES, drawn at random; on the other half
the pruned network's embedding is compared with the whole one's: mean cosine, as pruned ("cosine") and after its batch
norms have measured their statistics again on the first half ("settled": Li et al. 2020, EagleEye, find that it tells
better what recovery will reach). `--reconstruct 1000` adds what `edgeface prune --reconstruct` gives back, on so many
other faces ("refitted"). One line a way, as it is known; then the table in Markdown.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeface.data.sample import sample_faces
from edgeface.models import FaceNet, count, load_checkpoint
from edgeface.pruning import METHODS, prune
from edgeface.pruning.allocate import ALLOCATIONS
from edgeface.pruning.reconstruct import check_refit, reconstruct
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import EdgefaceError, InputError
from edgeface_runtime.files import write_json
from edgeface_runtime.manifest import InputSpec


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ratio", type=_numbers(float), default=".1,.3,.5")
    parser.add_argument("--steps", type=_numbers(int), default="1,4")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--allocations", default=",".join(ALLOCATIONS))
    parser.add_argument("--faces", type=int, default=64)
    parser.add_argument("--reconstruct", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    ways = list(
        product(options.allocations.split(","), options.steps, options.methods.split(","), options.ratio),
    )
    try:
        check_refit(options.reconstruct, True)
        if options.faces < 2:
            raise InputError(f"--faces must be at least 2, got {options.faces}")
        if options.out and not options.out.absolute().parent.is_dir():
            raise InputError(f"--out {options.out}: there is no folder {options.out.parent}")
        rows = measure(options.checkpoint, options.data, ways, options.faces, options.reconstruct, options.seed)
    except EdgefaceError as exc:
        print(f"pruning_methods: {exc}", file=sys.stderr)
        return exc.exit_code
    print("\n".join(table(rows)))
    if options.out:
        write_json(options.out, rows)
    return 0


def _numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    def numbers(text: str) -> list[float]:  # argparse names it where a word is none
        return [kind(word) for word in text.split(",")]

    return numbers


def measure(
    checkpoint: Path,
    data: Path,
    ways: Sequence[tuple[str, int, str, float]],
    faces: int,
    refit: int,
    seed: int,
) -> list[dict[str, float | str]]:
    """One row for each of `ways`: allocation, steps, method, ratio."""
    model = load_checkpoint(checkpoint).model.eval()
    height, width = model.spec.input_size
    needed = 2 * faces + refit
    sample = sample_faces(data, needed, seed, size=(height, width))
    if len(sample.crops) < needed:
        raise InputError(f"{data} has {len(sample.crops)} readable faces, {needed} are needed: lower --faces")
    batch = torch.from_numpy(to_batch(sample.crops, InputSpec(height=height, width=width)))
    ranked, held, others = batch.split([faces, faces, refit])
    with torch.inference_mode():
        whole = model(held)
    rows: list[dict[str, float | str]] = []
    for allocation, steps, method, ratio in ways:
        how: dict[str, Any] = {"method": method, "allocation": allocation, "steps": steps}
        pruned = prune(model, ratio, faces=ranked, refit=others if refit else None, **how)
        before = cosine(pruned.model, held, whole)
        refitted = copy.deepcopy(pruned.model)
        settle(pruned.model, ranked)
        rows.append(
            {
                **how,
                "ratio": ratio,
                "achieved": round(pruned.report.achieved, 4),
                "macs": round(pruned.report.after.macs / count(model.spec).macs, 4),
                "parameters": round(pruned.report.after.parameters / count(model.spec).parameters, 4),
                "cosine": round(before, 4),
                "settled": round(cosine(pruned.model, held, whole), 4),
            }
        )
        if refit:
            reconstruct(model, refitted, pruned.kept, others)
            rows[-1]["refitted"] = round(cosine(refitted, held, whole), 4)
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def cosine(model: FaceNet, faces: Tensor, whole: Tensor) -> float:
    """Mean cosine to the embeddings `whole`."""
    with torch.inference_mode():
        return float(nn.functional.cosine_similarity(whole, model(faces)).mean())


def settle(model: FaceNet, faces: Tensor) -> None:
    """Batch statistics measured again on these faces."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # those of this one batch
        norm.train()
    with torch.inference_mode():
        model(faces)
    model.eval()


def table(rows: list[dict[str, float | str]]) -> list[str]:
    """The rows in Markdown."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
