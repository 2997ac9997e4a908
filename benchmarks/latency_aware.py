"""Uniform pruning against latency-aware pruning at equal measured latency, before recovery training.

For every ratio the network is pruned uniformly and its real latency measured; then the latency-aware network is made
for a target that is lowered until its own measured latency, timed alternately with the uniform one's, is not above.
Both checkpoints are kept for recovery training. Run:

    python -m benchmarks.latency_aware CKPT --data FACES --profile profile.json --out DIR [--ratio .5 --ratio .7]

On a machine that others use, `--clock cpu` times what the one thread computed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeface.data.sample import sample_faces
from edgeface.models import Checkpoint, FaceNet, load_checkpoint
from edgeface.models.count import count
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.choices import predicted_ms
from edgeface.pruning.latency.halfway import STEPS, halfway
from edgeface.pruning.latency.losses import Losses, loss_steps, measure_losses
from edgeface.pruning.latency.prune import LatencyPruned, prune_to_latency
from edgeface.pruning.latency.run import save_pruned
from edgeface.pruning.reconstruct import check_refit
from edgeface.pruning.run import prune_checkpoint
from edgeface.workflows.machine import describe_machine
from edgeface_calibration.device_profile import DeviceProfile, read_profile
from edgeface_calibration.latency import CLOCKS, Latency, time_alternating
from edgeface_export.onnx_export import export_onnx
from edgeface_runtime.backends import open_backend
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import EdgefaceError, InputError
from edgeface_runtime.files import sha256_file, write_json
from edgeface_runtime.manifest import InputSpec

TRIES = 6
CLOSE = 0.97
"""A network this near below the uniform one's latency is near enough."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="identity folders of aligned faces")
    parser.add_argument("--profile", type=Path, required=True, help="of this device, by edgeface profile")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and result.json")
    parser.add_argument("--ratio", type=float, action="append", help="of the uniform network; may be given again")
    parser.add_argument("--faces", type=int, default=32, help="faces that losses are measured on")
    parser.add_argument("--judge", type=int, default=64, help="other faces that cosines are measured on")
    parser.add_argument("--method", default="l1")
    parser.add_argument("--steps", type=int, default=STEPS, help="how often losses are measured on the way")
    parser.add_argument("--keep-blocks", action="store_true", help="only narrow")
    parser.add_argument("--reconstruct", type=int, default=0, help="refit both networks on so many other faces")
    parser.add_argument("--runs", type=int, default=60, help="timed rounds")
    parser.add_argument("--clock", default="wall", choices=sorted(CLOCKS))
    args = parser.parse_args()
    try:
        compare(args)
    except EdgefaceError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    return 0


def compare(args: argparse.Namespace) -> None:
    """Make, time and write both networks of every ratio."""
    source, profile = load_checkpoint(args.checkpoint), read_profile(args.profile, {"precision": "fp32"})
    if profile.conditions.backend != "onnxruntime":
        raise InputError(f"{args.profile} is of {profile.conditions.backend}; this comparison runs onnxruntime")
    for flag in ("faces", "judge", "steps", "runs"):
        if getattr(args, flag) < 1:
            raise InputError(f"--{flag} must be at least 1, got {getattr(args, flag)}")
    check_refit(args.reconstruct, True)
    args.out.mkdir(parents=True, exist_ok=True)
    height, width = source.model.spec.input_size
    sample = sample_faces(args.data, args.faces + args.judge + args.reconstruct, size=(height, width))
    if len(sample.crops) < args.faces + args.judge + args.reconstruct:
        raise InputError(f"--data {args.data} has too few faces: {len(sample.crops)}")
    batch = torch.from_numpy(to_batch(sample.crops, InputSpec(height=height, width=width)))
    faces, judged, seen = batch.split([args.faces, args.judge, args.reconstruct])
    refit, seen = (sample.crops[-args.reconstruct :], seen) if args.reconstruct else (None, None)
    with torch.inference_mode():
        dense = source.model(judged)
    words = sample.source + (f", refitted on {args.reconstruct} faces" if args.reconstruct else "")
    losses = _losses(source, faces, seen, args)
    export_onnx(source.model, args.out / "dense.onnx")
    results = []
    for ratio in args.ratio or [0.5, 0.7]:
        uniform_path = args.out / f"uniform-{ratio:g}.safetensors"
        prune_checkpoint(source, ratio, uniform_path, method=args.method, refit=refit)
        uniform = load_checkpoint(uniform_path).model
        export_onnx(uniform, args.out / f"uniform-{ratio:g}.onnx")
        target, tries = predicted_ms(profile, uniform.spec), []
        how = {"method": args.method, "keep_blocks": args.keep_blocks}
        way = halfway(source.model, profile, target, faces, steps=args.steps, first=losses, refit=seen, **how)
        best: tuple[LatencyPruned, dict[str, Latency]] | None = None
        for number in range(TRIES):
            aware = prune_to_latency(way.model, profile, target, way.losses, origin=way.origin, **how)
            export_onnx(aware.model, args.out / f"aware-{ratio:g}.onnx")
            timed = _timed(args.out, (height, width), profile, ratio, args)
            share = timed["aware"].p50_ms / timed["uniform"].p50_ms
            tries.append({"target_ms": target, "measured_ms": timed["aware"].p50_ms, "of_uniform": share})
            print(
                f"ratio {ratio:g}, try {number + 1}: target {target:.3f} ms, {share:.3f} of uniform", file=sys.stderr
            )
            if share <= 1 and (best is None or share > best[1]["aware"].p50_ms / best[1]["uniform"].p50_ms):
                best = aware, timed
            if CLOSE <= share <= 1:
                break
            target *= 0.5 * (1 + CLOSE) / share
        if best is None:
            raise InputError(f"ratio {ratio:g}: no network as fast in {TRIES} tries: profile this device again")
        aware, timed = best
        if seen is not None:
            aware.refit(source.model, seen)
        export_onnx(aware.model, args.out / f"aware-{ratio:g}.onnx")
        save_pruned(args.out / f"aware-{ratio:g}.safetensors", source, aware, profile, words)
        results.append(
            {
                "ratio": ratio,
                "latency": {name: entry.to_dict() for name, entry in timed.items()},
                "uniform": _facts(uniform, judged, dense),
                "aware": {**_facts(aware.model, judged, dense), "report": aware.report.to_dict()},
                "tries": tries,
            }
        )
        _show(results[-1], source)
        write_json(args.out / "result.json", {"machine": describe_machine(), "clock": args.clock, "ratios": results})


def _losses(source: Checkpoint, faces: Tensor, refit: Tensor | None, args: argparse.Namespace) -> Losses:
    """Measured, or as an earlier run into the same folder measured them."""
    kept = args.out / "losses.json"
    seen = [hashlib.sha256(some.numpy().tobytes()).hexdigest() for some in (faces, refit) if some is not None]
    of = [sha256_file(args.checkpoint), args.method, *seen]
    if kept.is_file() and (data := json.loads(kept.read_text()))["of"] == of:
        return Losses({name: tuple(values) for name, values in data["groups"].items()}, data["blocks"])
    total = loss_steps(source.model)
    done = iter(range(1, total + 1))

    def say(word: str) -> None:
        print(f"\rlosses {next(done)}/{total} {word:<24}", end="", file=sys.stderr, flush=True)

    losses = measure_losses(source.model, faces, importance(args.method), say, refit=refit)
    print(file=sys.stderr)
    write_json(kept, {"of": of, **asdict(losses)})
    return losses


def _timed(
    folder: Path, size: tuple[int, int], profile: DeviceProfile, ratio: float, args: argparse.Namespace
) -> dict[str, Latency]:
    """Dense, uniform and latency-aware, in turn, under the profile's conditions."""
    on = profile.conditions
    paths = {"dense": "dense.onnx", "uniform": f"uniform-{ratio:g}.onnx", "aware": f"aware-{ratio:g}.onnx"}
    faces = np.random.default_rng(0).uniform(-1, 1, (on.batch, 3, *size)).astype(np.float32)
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open_backend(on.backend, folder / file, on.device, on.threads))
            for name, file in paths.items()
        }
        calls = {name: (lambda backend=backend: backend.run(faces)) for name, backend in opened.items()}
        return time_alternating(calls, runs=args.runs, clock_ns=CLOCKS[args.clock])


def _facts(model: FaceNet, judged: Tensor, dense: Tensor) -> dict[str, float]:
    with torch.inference_mode():
        cosine = torch.nn.functional.cosine_similarity(dense, model(judged))
    counts = count(model.spec)
    return {
        "cosine_mean": float(cosine.mean()),
        "cosine_min": float(cosine.min()),
        "macs": counts.macs,
        "parameters": counts.parameters,
        "filters": counts.filters,
    }


def _show(result: dict[str, Any], source: Checkpoint) -> None:
    dense = count(source.model.spec)
    whole = {"macs": dense.macs, "parameters": dense.parameters, "cosine_mean": 1.0, "cosine_min": 1.0}
    print(f"ratio {result['ratio']:g}         p50 ms    iqr   GMAC  M param  cosine to dense (least)")
    for name, facts in (("dense", whole), ("uniform", result["uniform"]), ("aware", result["aware"])):
        timed = result["latency"][name]
        cost = f"{facts['macs'] / 1e9:6.3f} {facts['parameters'] / 1e6:8.2f}"
        cosines = f"{facts['cosine_mean']:.4f} ({facts['cosine_min']:.4f})"
        print(f"  {name:<10} {timed['p50_ms']:8.3f} {timed['iqr_ms']:6.3f} {cost}  {cosines}")
    print(f"  blocks removed: {', '.join(result['aware']['report']['blocks_removed']) or 'none'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
