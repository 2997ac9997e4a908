"""Bad input, through the real entry point: one clear line, the right exit code, and nothing lost, made or changed."""

from __future__ import annotations

import errno
import pickle  # noqa: TID251 (what must never be read is made here)
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.errors import MissingExtraError

Cli = Callable[..., Any]
Snapshot = dict[str, tuple[int, int, int]]


class Payload:
    """Unpickling it leaves a file: proof that somebody unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def places(chain: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Good artefacts and a bad one of every kind, by name."""
    import cv2
    import torch

    from edgeface_runtime.bundle import pack_bundle

    root = tmp_path_factory.mktemp("bad")
    names = ("faces", "dense", "pruned", "masked", "bundle", "other", "images", "pairs", "photo", "gallery")
    found = {name: getattr(chain, name) for name in names}

    def add(name: str, path: str, content: bytes | None = None) -> Path:
        found[name] = root / path
        found[name].parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            found[name].write_bytes(content)
        return found[name]

    add("missing", "missing")
    add("new", "new")
    add("text_jpg", "text.jpg", b"this is no picture\n" * 9)
    add("empty_jpg", "empty.jpg", b"")
    add("cut_png", "cut.png", chain.photo.read_bytes()[:20_000])
    add("text", "text.txt", b"name 1 2 3 4 5\n")
    add("nobody", "nobody").mkdir()
    shutil.copytree(sorted(chain.faces.iterdir())[0], add("one_person", "one") / "Ann")
    for person in ("Ann", "Bob"):
        for number in (1, 2):
            big = add("too_big", "big") / person / f"{person}_{number:04d}.png"
            big.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(big), np.full((150, 150, 3), 99, np.uint8))

    for name in ("flipped", "cut_model", "no_model", "no_manifest", "cut_manifest"):
        shutil.copytree(chain.bundle, add(name, name))
    model = (chain.bundle / "recognizer.onnx").read_bytes()
    changed = bytearray(model)
    changed[len(model) // 2] ^= 1
    (found["flipped"] / "recognizer.onnx").write_bytes(changed)
    (found["cut_model"] / "recognizer.onnx").write_bytes(model[:-1])
    (found["no_model"] / "recognizer.onnx").unlink()
    (found["no_manifest"] / "manifest.json").unlink()
    manifest = (chain.bundle / "manifest.json").read_bytes()
    (found["cut_manifest"] / "manifest.json").write_bytes(manifest[: len(manifest) // 2])
    pack_bundle(chain.bundle, add("tar", "good.tar"))
    packed = found["tar"].read_bytes()
    add("cut_tar", "cut.tar", packed[: len(packed) // 2])
    add("empty_tar", "empty.tar", b"")
    at = packed.index(model[:256])
    changed = bytearray(packed)
    changed[at + len(model) // 2] ^= 1
    add("flipped_tar", "flipped.tar", bytes(changed))

    add("unpickled", "unpickled")
    add("pickle", "pickle.safetensors", pickle.dumps({"weight": Payload(found["unpickled"])}))
    torch.save({"weight": torch.zeros(2)}, add("pth", "torch.pth"))
    weights = chain.dense.read_bytes()
    add("cut_checkpoint", "cut.safetensors", weights[: len(weights) // 2])
    add("cut_header", "header.safetensors", weights[:500])
    add("foreign_gallery", "foreign.db")
    shutil.copy(chain.gallery, found["foreign_gallery"])
    add("no_sqlite", "text.db", b"not a gallery" * 99)
    add("bare_engine", "bare.engine", b"plan")
    add("cut_onnx", "cut.onnx", model[: len(model) // 2])
    return found


def state(places: dict[str, Path]) -> Snapshot:
    """Every file that is there: identity, size and time of writing."""
    roots = {places["faces"].parent, places["missing"].parent}
    files = [path for root in roots for path in root.rglob("*")]
    return {str(p): (p.stat().st_ino, p.stat().st_size if p.is_file() else 0, p.stat().st_mtime_ns) for p in files}


def fails(cli: Cli, places: dict[str, Path], command: str, words: str, code: int = 2) -> None:
    """`command` with {names} filled in is refused in one line that holds `words`, and leaves no trace."""
    before = state(places)
    done = cli(*(part.format(**places) for part in command.split()))
    assert done.code == code, done
    assert done.err.startswith("edgeface: ") and done.err.count("\n") == 1 and done.err.endswith("\n"), done.err
    assert words.format(**places) in done.err
    assert done.out == ""
    after = state(places)
    assert set(after) == set(before)
    changed = [name for name in before if before[name] != after[name] and Path(name).is_file()]
    assert not changed


PICTURES = {
    "missing": "picture not found: {missing}",
    "text_jpg": "is not a JPEG, PNG, BMP or WebP picture",
    "empty_jpg": "is empty",
    "cut_png": "{cut_png}",
    "nobody": "is a folder, not a picture",
}


@pytest.mark.parametrize("bad", PICTURES)
@pytest.mark.parametrize(
    "command",
    [
        "enroll {{bundle}} Bob {{photo}} {{{bad}}} --gallery {{gallery}}",
        "enroll {{bundle}} Bob {{{bad}}} --gallery {{new}}",
        "identify {{bundle}} {{{bad}}} --gallery {{gallery}}",
        "verify {{bundle}} {{photo}} {{{bad}}}",
    ],
)
def test_pictures(cli: Cli, places: dict[str, Path], command: str, bad: str) -> None:
    fails(cli, places, command.format(bad=bad), PICTURES[bad])


BUNDLES = {
    "flipped": "is damaged: recognizer.onnx is not the file that was exported",
    "cut_model": "is damaged: recognizer.onnx has",
    "no_model": "is damaged: recognizer.onnx is missing",
    "no_manifest": "manifest.json is missing",
    "cut_manifest": "manifest.json is damaged",
    "cut_tar": "is damaged or not a plain tar archive",
    "empty_tar": "is damaged or not a plain tar archive",
    "flipped_tar": "is damaged: recognizer.onnx is not the file that was exported",
    "missing": "{missing}",
    "text_jpg": "{text_jpg}",
}


@pytest.mark.parametrize("bad", BUNDLES)
@pytest.mark.parametrize(
    "command",
    [
        "enroll {{{bad}}} Bob {{photo}} --gallery {{gallery}}",
        "identify {{{bad}}} {{photo}} --gallery {{gallery}}",
        "verify {{{bad}}} {{photo}} {{photo}}",
        "inspect {{{bad}}}",
        "evaluate {{{bad}}} --images {{faces}} --protocol identify",
        "build {{{bad}}} --backend tensorrt-rtx --out {{new}}",
        "benchmark {{{bad}}} --out {{new}}",
        "compare {{{bad}}} {{other}} --quiet",
        "compare {{other}} {{{bad}}} --quiet --out {{new}}",
        "doctor {{{bad}}}",
    ],
)
def test_bundles(cli: Cli, places: dict[str, Path], command: str, bad: str) -> None:
    fails(cli, places, command.format(bad=bad), BUNDLES[bad])


@pytest.mark.parametrize("bad", ["flipped", "cut_model", "no_manifest"])
def test_calibrating_a_damaged_bundle(cli: Cli, places: dict[str, Path], bad: str) -> None:
    fails(cli, places, f"calibrate threshold {{{bad}}} --data {{faces}} --fmr .1", BUNDLES[bad])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("enroll default Bob {photo} --gallery {gallery}", "was made with model"),
        ("calibrate threshold default --data {faces}", "the shipped model takes no thresholds"),
        ("evaluate default --images {faces} --protocol identify --record", "the shipped model takes no --record"),
        ("build default", "edgeface bundle copy default DIR --precision fp16 --faces FACES"),
    ],
)
def test_the_shipped_model_stays_as_it_is(cli: Cli, places: dict[str, Path], command: str, line: str) -> None:
    fails(cli, places, command, line)


def test_a_gallery_of_another_model(cli: Cli, places: dict[str, Path]) -> None:
    fails(cli, places, "identify {other} {photo} --gallery {foreign_gallery} --threshold .5", "was made with model")
    fails(cli, places, "enroll {other} Bob {photo} --gallery {foreign_gallery}", "was made with model")
    listed = cli("gallery", "list", "--gallery", places["foreign_gallery"], "--json").data
    assert [(person["name"], person["templates"]) for person in listed] == [("Ann", 1)]


DATA = {
    "nobody": "holds no pictures of people",
    "one_person": "one identity only",
    "missing": "{missing}",
    "text_jpg": "is not a folder",
    "too_big": "crop",
}


@pytest.mark.parametrize("bad", DATA)
@pytest.mark.parametrize(
    "command",
    [
        "train --data {{{bad}}} --out {{new}} --arch iresnet18 --width .125 --epochs 1 --quiet",
        "train --data {{{bad}}} --out {{new}} --from {{dense}} --epochs 1 --quiet",
        "prune {{dense}} --ratio .5 --out {{new}} --data {{{bad}}}",
        "export {{dense}} --out {{new}} --faces {{{bad}}}",
        "evaluate {{dense}} --images {{{bad}}} --protocol identify",
    ],
)
def test_data_sets(cli: Cli, places: dict[str, Path], command: str, bad: str) -> None:
    fails(cli, places, command.format(bad=bad), DATA[bad])


@pytest.mark.parametrize("bad", ["nobody", "one_person", "missing", "text_jpg"])
def test_calibrating_on_data_sets(cli: Cli, places: dict[str, Path], bad: str) -> None:
    fails(cli, places, f"calibrate threshold {{bundle}} --data {{{bad}}} --fmr .5", DATA[bad])


@pytest.mark.parametrize("bad", ["nobody", "one_person"])
def test_training_on_nothing_is_one_line_without_quiet_too(cli: Cli, places: dict[str, Path], bad: str) -> None:
    fails(cli, places, f"train --data {{{bad}}} --out {{new}} --arch iresnet18 --width .125", DATA[bad])


CHECKPOINTS = {
    "pickle": "holds a pickle",
    "pth": "holds a pickle",
    "cut_checkpoint": "is not a readable safetensors file",
    "cut_header": "is not a readable safetensors file",
    "missing": "{missing}",
    "nobody": "{nobody}",
}


@pytest.mark.parametrize("bad", CHECKPOINTS)
@pytest.mark.parametrize(
    "command",
    [
        "prune {{{bad}}} --ratio .3 --out {{new}}",
        "export {{{bad}}} --out {{new}}",
        "train --from {{{bad}}} --data {{faces}} --out {{new}} --epochs 1",
        "evaluate {{{bad}}} --images {{faces}} --protocol identify",
        "inspect {{{bad}}}",
    ],
)
def test_checkpoints(cli: Cli, places: dict[str, Path], command: str, bad: str) -> None:
    fails(cli, places, command.format(bad=bad), CHECKPOINTS[bad])
    assert not places["unpickled"].exists(), "a pickle was read"


FLAGS = [
    ("prune {dense} --ratio 1.5 --out {new}", "--ratio must lie between 0 and 0.9"),
    ("prune {dense} --ratio -.1 --out {new}", "--ratio must lie between 0 and 0.9"),
    ("prune {dense} --ratio nan --out {new}", "--ratio must lie between 0 and 0.9"),
    (
        "prune {dense} --ratio .3 --out {new} --method best",
        "unknown --method 'best': choose one of l1, l2, bn, taylor",
    ),
    ("prune {dense} --ratio .3 --out {new} --method taylor", "what they do to real faces: give them with --data"),
    ("prune {dense} --ratio .3 --out {new} --allocation fair", "unknown --allocation 'fair': choose one of"),
    ("prune {dense} --ratio .3 --out {new} --allocation global --uniform", "contradict each other: leave one out"),
    ("prune {dense} --ratio .3 --out {new} --reconstruct 64", "refits on real faces: give them with --data"),
    (
        "prune {dense} --ratio .3 --out {new} --reconstruct 8 --data {faces}",
        "--reconstruct must be at least 16 faces",
    ),
    ("prune {dense} --target-latency 4ms --device-profile {new} --out {new} --steps 2", "--steps goes with"),
    ("prune {dense} --ratio .3 --out {new} --steps 0", "--steps must lie between 1 and 100"),
    ("prune {dense} --ratio .3 --out {new} --round-to 0", "--round-to must be at least 1"),
    ("train --data {faces} --out {new} --from {dense} --width .5", "--width is for new networks"),
    ("prune {dense} --ratio .3 --out {photo}", "exists and is no checkpoint"),
    ("benchmark {bundle} --batch 100000000", "--batch must be at most 1024"),
    ("benchmark {bundle} --ratios 0,.5", "--ratios is for networks with random weights"),
    ("benchmark --ratios 0,2", "--ratios must lie between 0 and 0.9"),
    ("benchmark {bundle} --out {photo}/x", "is a file, not a folder"),
    ("benchmark {bundle} --report {photo}/x", "is a file, not a folder"),
    ("benchmark {bundle} --report {new} --images {images}", "--images DIR and --pairs FILE belong together"),
    ("benchmark {bundle} --images {images} --pairs {pairs}", "--images is for the page of --report DIR"),
    ("benchmark {bundle} --report {new} --occlusion mask", "--occlusion says how to judge on --images DIR"),
    ("benchmark {bundle} --report {new} --folds 1-2", "--folds says how to judge on --images DIR"),
    (
        "benchmark {bundle} --report {new} --images {images} --pairs {pairs} --occlusion none,fog",
        "unknown --occlusion 'fog': choose none or one of",
    ),
    ("benchmark {bundle} --report {new} --images {images} --pairs {pairs} --folds 2-3", "--folds asks for fold 3"),
    ("benchmark {bundle} --report {new} --images {images} --pairs {text}", "{text} line 1"),
    ("benchmark {bundle} --report {new} --images {photo} --pairs {pairs}", "no folder of pictures at {photo}"),
    ("benchmark {bundle} --report {new} --faces {photo}", "--faces {photo} is not a folder"),
    ("benchmark {bundle} --precision fp32,fp32", "--precision takes each precision once"),
    ("benchmark {bundle} --precision fp32,int4", "has no int4 model, it has"),
    ("benchmark {bundle} --precision int8,int8+fp16", "has no int8 model, it has fp32"),
    ("prune {dense} --ratio .3 --out {photo} --force", "exists and is no checkpoint"),
    ("prune {dense} --ratio .3 --out {dense}", "replace it with --force"),
    ("build {bundle} --backend tensorrt-rtx --out {photo}", "an engine's name ends in .engine"),
    ("evaluate {dense} --images {images} --pairs {pairs} --out {photo}", "exists and is no JSON file"),
    ("prune {dense} --ratio .3 --out {new} --faces 0", "--faces must be at least 1"),
    ("prune {dense} --ratio .3 --out {nobody} --uniform", "is a folder: name a file"),
    ("prune {dense} --ratio .3 --out {text}/x --uniform", "cannot write {text}/x"),
    ("train --data {faces} --out {new} --epochs 0", "--epochs must be between 1 and"),
    ("train --data {faces} --out {new} --batch 1", "--batch must be between 2 and"),
    ("train --data {faces} --out {new} --lr 0", "--lr must be above 0"),
    ("train --data {faces} --out {new} --loss soft", "unknown --loss 'soft': choose one of"),
    ("train --data {faces} --out {new} --stage best", "unknown --stage 'best': choose one of"),
    ("train --data {faces} --out {new} --arch best", "unknown --arch 'best': choose one of"),
    ("train --data {faces} --out {new} --mask best", "unknown --mask 'best': choose"),
    ("train --data {faces} --out {new} --kind hat", "unknown --kind 'hat': choose one of"),
    ("train --data {faces} --out {new} --width 0", "--width must be above 0"),
    ("train --data {faces} --out {new} --device gpu", "unknown --device 'gpu': choose one of"),
    ("train --data {faces} --out {new} --share .1,.2,.3", "--share takes one number or two"),
    ("train --data {faces} --out {new} --share 2", "--share must be a range within"),
    ("train --data {faces} --out {new} --seed -1", "--seed must be between 0"),
    ("train --data {faces} --out {new} --resume", "holds no run to resume"),
    ("train --data {faces} --out {text}", "is a file: name a folder"),
    ("export {dense} --out {bundle}", "exists: choose another --out, or replace it with --force"),
    ("export {dense} --out {faces} --force", "exists and is not a bundle"),
    ("export {dense} --out {new} --precision fp8", "unknown --precision 'fp8'"),
    ("export {dense} --out {new} --precision ,", "--precision is empty"),
    ("export {dense} --out {new} --precision int8", "calibrated on real faces: give --faces"),
    (
        "export {dense} --out {new} --precision int8 --faces {faces} --count 2 --method best",
        "unknown --method 'best'",
    ),
    (
        "export {dense} --out {new} --precision int8 --faces {faces} --calibration 0",
        "--calibration must be at least 1",
    ),
    ("export {dense} --out {new} --precision int8 --faces {faces} --count 999", "none are left to calibrate"),
    ("export {dense} --out {new} --precision int8+fp16", "int8+fp16 is calibrated on real faces: give --faces"),
    ("export {dense} --out {new} --pairs {pairs}", "--pairs needs --faces"),
    ("export {dense} --out {new} --faces {images} --pairs {pairs} --count 3", "--count and --pairs both say"),
    ("export {dense} --out {new} --faces {images} --pairs {text}", "line 1: expected"),
    ("calibrate int8 {bundle} --data {faces} --precision fp16", "--precision fp16: give int8, int8+fp16, or both"),
    ("calibrate int8 {bundle} --data {faces} --precision ,", "give int8, int8+fp16, or both"),
    ("calibrate int8 {bundle} --data {missing}", "data folder not found"),
    ("calibrate int8 {dense} --data {faces}", "neither a bundle's folder nor a .tar"),
    ("calibrate int8 {bundle} --data {faces} --method best --count 2", "unknown --method 'best'"),
    ("calibrate int8 {bundle} --data {faces} --count 999", "none are left to calibrate"),
    ("export {dense} --out {new} --opset 3", "opset"),
    ("export {dense} --out {new} --count 0", "--count must be at least 1"),
    ("export {dense} --out {text}/x", "cannot write {text}/x"),
    ("evaluate {dense} --images {images}", "needs --pairs FILE"),
    ("evaluate {dense} --images {images} --pairs {pairs} --precision int8", "are for bundles, a checkpoint runs in"),
    (
        "evaluate {dense} --images {images} --pairs {pairs} --backend tensorrt",
        "are for bundles, a checkpoint runs in",
    ),
    ("evaluate {dense} --images {images} --pairs {pairs} --threads -3", "--threads is -3"),
    ("evaluate {dense} --images {images} --pairs {missing}", "pairs file not found: {missing}"),
    ("evaluate {dense} --images {images} --pairs {text}", "{text} line 1: expected 'name i j'"),
    ("evaluate {dense} --images {images} --pairs {photo}", "is not a readable text file"),
    ("evaluate {dense} --images {images} --pairs {pairs} --protocol best", "unknown --protocol 'best'"),
    ("evaluate {dense} --images {images} --pairs {pairs} --protocol identify", "belong to --protocol verify"),
    ("evaluate {dense} --images {images} --pairs {pairs} --folds six", "--folds takes ranges"),
    ("evaluate {dense} --images {images} --pairs {pairs} --folds 3-1", "--folds takes ranges"),
    ("evaluate {dense} --images {images} --pairs {pairs} --folds 0-2", "--folds takes ranges"),
    ("evaluate {dense} --images {images} --pairs {pairs} --folds 1-3", "asks for fold 3, {pairs} has 2"),
    ("evaluate {dense} --images {images} --pairs {pairs} --folds 1-99999999999", "--folds asks for fold"),
    ("evaluate {dense} --images {images} --pairs {pairs} --occlusion hat", "unknown --occlusion 'hat': choose none"),
    ("evaluate {dense} --images {images} --pairs {pairs} --share .4", "give both"),
    ("evaluate {dense} --images {images} --pairs {pairs} --occlusion random --share 1", "--share must be above 0"),
    ("evaluate {tar} --images {images} --pairs {pairs} --record", "only a bundle folder can take a --record"),
    ("calibrate threshold {tar} --data {faces}", "only a bundle folder can take thresholds"),
    ("calibrate threshold {dense} --data {faces}", "only a bundle folder can take thresholds"),
    ("calibrate threshold {bundle} --data {faces} --fmr 2", "must lie between 0 and 1"),
    ("calibrate threshold {bundle} --data {faces} --fmr some", "--fmr takes numbers"),
    ("calibrate threshold {bundle} --data {faces} --fmr 1e-4", "needs 300000 impostor pairs"),
    ("calibrate threshold {bundle} --data {faces} --faces 1", "--faces must be at least 2"),
    ("calibrate threshold {bundle} --data {faces} --seed -1", "--seed at least 0"),
    ("calibrate threshold {bundle} --data {faces} --occlusion hat", "unknown --occlusion 'hat'"),
    ("calibrate threshold {bundle} --data {faces} --conditions clean,hat", "unknown condition 'hat' in --conditions"),
    ("calibrate threshold {bundle} --data {faces} --conditions clean,clean --fmr .1", "names none, or one twice"),
    ("calibrate threshold {bundle} --data {faces} --conditions mask --occlusion mask", "give one of them"),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --fpir 1e-2", "FPIR 0.01 needs 3000 probes of people not"),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --fpir 3", "must lie between 0 and 1"),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --fpir few", "--fpir takes numbers"),
    (
        "calibrate threshold {bundle} --data {faces} --fmr .1 --fpir .5 --gallery-size 5",
        "needs 10 people, there are 8",
    ),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --fpir .5 --draws 0", "--draws must be at least 1"),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --plot {new}", "give a name that ends in .png"),
    ("calibrate threshold {bundle} --data {faces} --fmr .1 --plot {new}/a.png", "in a folder that exists"),
    ("identify {bundle} {photo} --gallery {missing}", "gallery not found: {missing}"),
    ("identify {bundle} {photo} --gallery {no_sqlite}", "is not a gallery"),
    ("identify {bundle} {photo} --gallery {gallery} --threshold 3", "give a cosine between -1 and 1"),
    ("identify {bundle} {photo} --gallery {gallery} --top 0", "--top is 0"),
    ("identify {bundle} {photo} --gallery {gallery} --min-face 1", "--min-face must be at least"),
    ("identify {bundle} {photo} --gallery {gallery} --threads -1", "--threads is -1"),
    ("identify {bundle} {photo} --gallery {gallery} --device gpu", "unknown device 'gpu'"),
    ("identify {bundle} {photo} --gallery {gallery} --backend best", "unknown backend 'best'"),
    ("identify {bundle} {photo} --gallery {gallery} --precision int8", "has no int8 model"),
    ("stream {bundle} {missing} --gallery {gallery}", "source not found: {missing}"),
    ("stream {bundle} {photo} --gallery {gallery}", "is a picture: use edgeface identify"),
    ("stream {bundle} {text} --gallery {gallery}", "{text} cannot be read as a video"),
    ("stream {bundle} {nobody} --gallery {gallery}", "{nobody} holds no pictures"),
    ("stream {bundle} {nobody} --gallery {missing}", "gallery not found: {missing}"),
    ("stream {bundle} {nobody} --gallery {gallery} --threshold 3", "give a cosine between -1 and 1"),
    ("stream {bundle} {nobody} --gallery {gallery} --detect-every 0", "--detect-every is 0"),
    ("stream {bundle} {nobody} --gallery {gallery} --refresh 0", "--refresh is 0"),
    ("stream {bundle} {nobody} --gallery {gallery} --max-frames 0", "--max-frames is 0"),
    ("stream {bundle} {nobody} --gallery {gallery} --roi 1,2,3", "--roi takes left, top, right, bottom"),
    ("stream {bundle} {nobody} --gallery {gallery} --roi a,b,c,d", "--roi takes whole numbers"),
    ("stream {bundle} {nobody} --gallery {gallery} --save {new}.webm", "give a name that ends in .mp4 or .avi"),
    ("stream {bundle} {nobody} --gallery {gallery} --serve 8080", "--serve takes HOST:PORT such as 127.0.0.1:8080"),
    ("stream {bundle} {nobody} --gallery {gallery} --save {text}/x.mp4", "cannot write {text}/x.mp4"),
    ("verify {other} {photo} {photo}", "carries no threshold: measure one with edgeface calibrate threshold"),
    ("enroll {bundle} Bob {photo} --gallery {text}/x.db", "{text}/x.db"),
    ("enroll {bundle} Bob {photo} --gallery {nobody}", "is a folder, not a gallery"),
    ("enroll {bundle} Bob {photo} --gallery {no_sqlite}", "is not a gallery"),
    ("gallery list --gallery {missing}", "gallery not found: {missing}"),
    ("gallery delete Bob --gallery {missing}", "gallery not found: {missing}"),
    ("gallery delete Bob --gallery {gallery}", "nobody named 'Bob'"),
    ("inspect {missing}", "file not found: {missing}"),
    ("inspect {text}", "is none of edgeface's files"),
    ("inspect {no_sqlite}", "is not a gallery"),
    ("inspect {bare_engine}", "has no sidecar"),
    ("inspect {bare_engine} --profile", "has no sidecar"),
    ("inspect {bundle} --profile", "--profile times the layers of an engine"),
    ("inspect {cut_onnx}", "is not a readable ONNX graph"),
    ("inspect iresnet50 --profile", "--profile times the layers of an engine"),
    ("inspect {bundle} --width .5", "--width is for networks by name"),
    ("build {bundle} --backend best", "unknown --backend 'best'"),
    ("build {bundle} --precision int8 --backend tensorrt-rtx", "has no int8 model"),
    ("build {bundle} --max-batch 0", "--max-batch must be at least 1"),
    ("build {bundle} --min-batch 0", "--min-batch must be 1 to --max-batch (8), got 0"),
    ("build {bundle} --min-batch 9", "--min-batch must be 1 to --max-batch (8), got 9"),
    ("build {bundle} --min-batch 4 --opt-batch 2", "--opt-batch must be --min-batch (4) to --max-batch (8), got 2"),
    ("build {bundle} --opt-batch 9", "--opt-batch must be --min-batch (1) to --max-batch (8), got 9"),
    ("build {bundle} --workspace 0", "--workspace must be at least 1 MiB"),
    ("build {bundle} --builder-level 9", "--builder-level must be 0 to 5, got 9"),
    ("build {bundle} --builder-level -1", "--builder-level must be 0 to 5, got -1"),
    ("build {bundle} --hardware-compatibility all", "unknown --hardware-compatibility 'all': choose one of none, "),
    ("build {bundle} --precision fp8", "unknown --precision 'fp8': choose one of fp32, fp16, int8, int8+fp16"),
    ("build {bundle} --precision int8+fp16 --dry-run", "it has fp32, fp16: add it with edgeface calibrate int8"),
    ("build {bundle} --timing-cache {missing}/a.cache", "--timing-cache {missing}/a.cache: there is no folder"),
    ("build {bundle} --timing-cache {nobody}", "--timing-cache {nobody} is a folder: name a file"),
    ("build {bundle} --timing-cache {new}.engine --out {new}.engine", "is where the engine goes: name another file"),
    ("build {bundle} --backend tensorrt-rtx --timing-cache {new}", "--timing-cache is for --backend tensorrt (tens"),
    ("build {bundle} --backend tensorrt-rtx --version-compatible", "--version-compatible is for --backend tensorrt"),
    (
        "build {bundle} --backend tensorrt-rtx --hardware-compatibility ampere-plus --dry-run",
        "--hardware-compatibility ampere-plus is for --backend tensorrt (",
    ),
    ("build {bundle} --backend tensorrt-rtx --out {text}/x.engine --dry-run", "cannot write {text}/x.engine"),
    ("benchmark --ratios 1.5 --width .125", "--ratios must lie between"),
    ("benchmark --ratios half", "--ratios takes numbers"),
    ("benchmark --batch 0", "--batch takes positive sizes"),
    ("benchmark --batch one", "--batch takes whole numbers"),
    ("benchmark --runs 0", "--runs must be at least 1"),
    ("benchmark --precision fp8", "unknown --precision 'fp8'"),
    ("benchmark --backend best", "unknown backend 'best': known are onnxruntime, onnxruntime-tensorrt"),
    ("benchmark --mask best", "unknown --mask 'best'"),
    ("benchmark {bundle} --out {text}", "is a file: name a folder"),
    ("benchmark {bundle} --report {text}", "--report {text} is a file: name a folder"),
    ("benchmark --report {new} --faces {faces} --width .125", "--faces is for bundles: random weights"),
    ("benchmark --precision fp32,fp8 --width .125", "unknown --precision 'fp8'"),
    ("demo --out {new} --ratios 1.5", "--ratios must lie between 0 and 0.9"),
    ("demo --out {new} --epochs 1,1", "--epochs takes three numbers"),
    ("demo --out {new} --epochs 0,1,1", "--epochs takes three numbers"),
    ("demo --out {new} --batch 1", "--batch must be at least 2"),
    ("demo --out {new} --seed -1", "--seed at least 0"),
    ("demo --out {new} --arch best", "unknown --arch 'best'"),
    ("demo --out {new} --width 0", "--width must be above 0"),
    ("demo --out {faces}", "is not empty"),
    ("demo --out {text}", "is a file: name a folder"),
    ("demo --out {new} --faces {one_person}", "one identity only"),
    ("demo --out {new} --faces {nobody}", "holds no pictures of people"),
    ("data align {missing} {new}", "{missing}"),
    ("data align {faces} {text}", "{text}"),
    ("data align {faces} {new} --min-face 1", "--min-face must be at least"),
    ("data align {faces} {new} --workers 0", "--workers must be at least 1"),
    ("data occlude {missing} {new} --kind mask", "{missing}"),
    ("data occlude {nobody} {new} --kind mask", "no picture below"),
    ("data occlude {faces} {new} --kind hat", "unknown occluder 'hat': choose one of"),
    ("data occlude {faces} {new} --kind mask --share 2", "share must be above 0"),
    ("data occlude {faces} {new} --kind mask --alpha 2", "alpha must be between 0.1 and 1"),
    ("data occlude {faces} {new} --kind mask --landmarks {missing}", "cannot read landmarks {missing}"),
    ("data occlude {faces} {new} --kind mask --templates {missing}", "no folder of occluder templates at {missing}"),
    ("data occlude {faces} {faces}/new --kind mask", "lie in one another"),
    ("data synthetic {faces}", "is not an empty folder"),
    ("data synthetic {new} --people 0", "at least one identity"),
    ("data synthetic {new} --seed -1", "--seed must be at least 0"),
]


@pytest.mark.parametrize(("command", "words"), FLAGS, ids=[command for command, _ in FLAGS])
def test_flags(cli: Cli, places: dict[str, Path], command: str, words: str) -> None:
    fails(cli, places, command, words)


def test_a_run_is_not_written_over(cli: Cli, places: dict[str, Path]) -> None:
    command = f"train --data {{faces}} --out {places['dense'].parent} --arch iresnet18 --width .125"
    fails(cli, places, command, "holds a run already")


def test_one_good_picture_among_bad_ones_is_still_looked_at(cli: Cli, places: dict[str, Path]) -> None:
    images = (places["text_jpg"], places["photo"])
    done = cli("identify", places["bundle"], *images, "--gallery", places["gallery"], "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert [result["status"] for result in done.data] == ["unreadable", "ok"]


def test_all_bad_pictures_are_data_and_one_line(cli: Cli, places: dict[str, Path]) -> None:
    images = (places["text_jpg"], places["empty_jpg"])
    done = cli("identify", places["bundle"], *images, "--gallery", places["gallery"], "--json", "--quiet")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert [result["status"] for result in done.data] == ["unreadable", "unreadable"]


def test_no_match_is_code_1(cli: Cli, places: dict[str, Path], tmp_path: Path) -> None:
    import cv2

    mirrored, empty = tmp_path / "mirrored.png", tmp_path / "nobody.png"
    cv2.imwrite(str(mirrored), np.ascontiguousarray(cv2.imread(str(places["photo"]))[:, ::-1]))
    cv2.imwrite(str(empty), np.full((120, 120, 3), 128, np.uint8))
    look = ("--gallery", places["gallery"], "--threshold", 1, "--json", "--quiet")
    unlike = cli("identify", places["bundle"], mirrored, *look)
    assert (unlike.code, unlike.err) == (1, "")
    (face,) = unlike.data[0]["faces"]
    assert face["match"] is None and face["candidates"][0]["name"] == "Ann"
    no_face = cli("identify", places["bundle"], empty, *look)
    assert (no_face.code, no_face.err, no_face.data[0]["status"]) == (1, "", "no_face")
    differ = cli("verify", places["bundle"], places["photo"], mirrored, "--threshold", 1, "--json", "--quiet")
    assert (differ.code, differ.err, differ.data["match"]) == (1, "", False)


def test_missing_tensorrt_names_its_command(
    cli: Cli, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    fails(cli, places, "build {bundle} --backend tensorrt", "pip install 'edgeface[tensorrt]'")
    fails(cli, places, "build {bundle} --backend tensorrt --json", "pip install 'edgeface[tensorrt]'")


def test_no_gpu_is_code_3(cli: Cli, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgeface_runtime.backends import tensorrt
    from edgeface_runtime.errors import DeviceError

    def none(index: int = 0) -> None:
        raise DeviceError("no NVIDIA driver: install one")

    monkeypatch.setattr(tensorrt, "require_gpu", none)
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    look = "identify {bundle} {photo} --gallery {gallery} --backend tensorrt-rtx --precision fp32"
    fails(cli, places, look, "no NVIDIA driver", code=3)
    fails(cli, places, f"{look} --no-build", "no NVIDIA driver", code=3)
    fails(cli, places, f"{look} --device cpu", "runs on a GPU, not on the CPU", code=3)


def test_cuda_that_is_not_there_is_code_3(cli: Cli, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    fails(cli, places, "identify {bundle} {photo} --gallery {gallery} --device cuda", "CUDA", code=3)
    fails(cli, places, "evaluate {dense} --images {faces} --protocol identify --device cuda", "cuda", code=3)
    train = "train --data {faces} --out {new} --arch iresnet18 --width .125 --device cuda --quiet"
    fails(cli, places, train, "cuda", code=3)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"), "pip install 'edgeface[cpu]'"),
        (ModuleNotFoundError("no", name="torch.nn"), "torch is not installed: pip install 'edgeface[train]'"),
        (MissingExtraError("matplotlib", "plot"), "pip install 'edgeface[plot]'"),
        (PermissionError(errno.EACCES, "Permission denied", "/there"), "/there: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write: No space left on device"),
    ],
)
def test_what_the_machine_lacks_is_one_line(
    cli: Cli, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def broken(path: object, full: bool = False) -> None:
        raise error

    monkeypatch.setattr("edgeface.workflows.inspect.bundle.open_bundle", broken)
    fails(cli, places, "inspect {bundle}", words)


def test_a_bug_is_not_dressed_up(cli: Cli, monkeypatch: pytest.MonkeyPatch, places: dict[str, Path]) -> None:
    def broken(path: object, full: bool = False) -> None:
        raise ModuleNotFoundError("No module named 'edgeface.typo'", name="edgeface.typo")

    monkeypatch.setattr("edgeface.workflows.inspect.bundle.open_bundle", broken)
    with pytest.raises(ModuleNotFoundError, match="typo"):
        cli("inspect", places["bundle"])


def test_as_a_program(places: dict[str, Path]) -> None:
    """Once from outside: nothing but the line reaches the terminal."""
    words = [sys.executable, "-m", "edgeface", "inspect", str(places["flipped"])]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("edgeface: ") and done.stderr.count("\n") == 1
