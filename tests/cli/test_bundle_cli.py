"""edgeface bundle import and deepstream, and all that then works on a recogniser from elsewhere."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edgeface.data.synthetic import synth_face

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 112x112 as somebody else exports it: own names, a batch of 1, no norm, PReLU."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.PReLU(16), nn.Conv2d(16, 32, 3, 4, 1), nn.PReLU(32), nn.Flatten(),
        nn.Linear(32 * 14 * 14, 64),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("theirs") / "arcface.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 3, 112, 112),), str(path), dynamo=False, opset_version=12, input_names=["data"]
        )
    return path


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Procedural people as ArcFace's crops, 112x112: ours, with grey beside them. Named as LFW's, with two folds."""
    root = tmp_path_factory.mktemp("wide")
    for person in range(8):
        folder = root / f"p{person}"
        folder.mkdir()
        for number in range(1, 4):
            crop = cv2.copyMakeBorder(
                synth_face(person, number, 0), 0, 0, 8, 8, cv2.BORDER_CONSTANT, value=(99, 99, 99)
            )
            cv2.imwrite(str(folder / f"p{person}_{number:04d}.png"), crop)
    lines = ["2\t4"]
    for first in (0, 4):
        lines += [f"p{first + k}\t1\t2" for k in range(4)]
        lines += [f"p{first + k}\t1\tp{first + (k + 1) % 4}\t3" for k in range(4)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def imported(cli: Cli, theirs: Path, wide: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("imported") / "arc.bundle"
    told = ("--licence", "MIT", "--data", "faces of theirs", "--name", "arc")
    done = cli(
        "bundle", "import", theirs, "--out", out, "--input", "112x112", "--mean", 127.5, "--std", 128, *told,
        "--precision", "fp16", "--faces", wide, "--json", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done
    return out, done.data


def test_the_manifest_says_what_it_is(imported: tuple[Path, Any]) -> None:
    _, data = imported
    assert data["input"] == {
        "height": 112, "width": 112, "layout": "NCHW", "color": "RGB", "mean": 127.5, "std": 128.0
    }  # fmt: skip
    assert data["template"][0] == pytest.approx([38.2946, 51.6963])
    assert (data["weights"], data["name"]) == ({"licence": "MIT", "data": "faces of theirs"}, "arc")
    assert (data["masking"], data["ratio"]["achieved"], data["training"]) == ("none", 0.0, {})
    assert data["macs"] == 56 * 56 * 16 * 27 + 14 * 14 * 32 * 16 * 9 + 32 * 14 * 14 * 64
    assert set(data["models"]) == {"fp32", "fp16"} and data["arch"]["imported"]["batch"] == 1
    assert data["import"]["auc"] is not None and len(data["import"]["alternatives"]) == 5


def test_everything_works_on_it(cli: Cli, chain: Any, imported: tuple[Path, Any], wide: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "arc.bundle"
    shutil.copytree(imported[0], bundle)
    one = ("--threads", 1, "--json", "--quiet")

    def works(*arguments: object) -> Any:
        done = cli(*arguments)
        assert done.code == 0, (arguments, done)
        return done.data

    assert works("inspect", bundle, "--json")["kind"] == "bundle"
    fmr = works("calibrate", "threshold", bundle, "--data", wide, "--fmr", ".2", *one)
    assert fmr["faces"] == 24
    judged = works("evaluate", bundle, "--images", wide, "--pairs", wide / "pairs.txt", "--record", *one)
    assert judged["pairs"] == 16
    covered = ("--occlusion", "mask", *one)
    assert works("evaluate", bundle, "--images", wide, "--pairs", wide / "pairs.txt", *covered)["left_out"] == 0
    gallery = tmp_path / "g.db"
    works("enroll", bundle, "Ann", chain.photo, "--gallery", gallery, *one)
    (found,) = works("identify", bundle, chain.photo, "--gallery", gallery, *one)
    assert found["faces"][0]["match"] == "Ann"
    assert works("verify", bundle, chain.photo, chain.photo, *one)["score"] == pytest.approx(1, abs=1e-4)
    timed = works("benchmark", bundle, "--runs", 1, "--warmup", 0, "--batch", "1,2", "--json", "--quiet")
    assert timed["rows"][0]["parameters"] == imported[1]["parameters"]


def test_a_photograph_is_cut_onto_arcfaces_template(
    cli: Cli, chain: Any, imported: tuple[Path, Any], tmp_path: Path
) -> None:
    """`evaluate --align` and `data align --size 112x112` make the same crop: the runtime's own."""
    from edgeface.evaluation.pictures import Pictures
    from edgeface_runtime.recognizer import Recognizer

    photos, crops = tmp_path / "photos", tmp_path / "crops"
    (photos / "Ann").mkdir(parents=True)
    shutil.copy(chain.photo, photos / "Ann" / "Ann_0001.png")
    done = cli("data", "align", photos, crops, "--size", "112x112", "--workers", 1, "--quiet")
    assert done.code == 0, done
    crop = cv2.imread(str(crops / "Ann" / "Ann_0001.jpg"))
    with Recognizer.from_bundle(imported[0], threads=1) as recognizer:
        image = cv2.imread(str(chain.photo))
        wanted, _ = recognizer.cut(image, recognizer.find(image)[0])
    coded = cv2.imdecode(cv2.imencode(".jpg", wanted, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
    template = recognizer.bundle.manifest.template
    with Pictures(photos, (112, 112), template, detect=True) as pictures:
        np.testing.assert_array_equal(pictures.read(photos / "Ann" / "Ann_0001.png").crop, wanted)
    assert crop.shape == (112, 112, 3) and np.abs(crop.astype(int) - coded).mean() < 0.1


def test_crops_of_another_size_name_the_command(cli: Cli, chain: Any, imported: tuple[Path, Any], wide: Path) -> None:
    bundle, _ = imported
    done = cli("evaluate", bundle, "--images", chain.images, "--pairs", chain.pairs, "--threads", 1)
    assert done.code == 2 and done.err.count("\n") == 1
    assert "edgeface data align PHOTOS CROPS --size 112x112" in done.err and "--crop box" not in done.err
    done = cli("calibrate", "threshold", bundle, "--data", chain.faces, "--fmr", ".2", "--threads", 1, "--quiet")
    assert done.code == 2 and "edgeface data align PHOTOS CROPS --size 112x112" in done.err


def test_deepstream(cli: Cli, imported: tuple[Path, Any], tmp_path: Path) -> None:
    done = cli("bundle", "deepstream", imported[0], "--out", tmp_path / "ds", "--primary-id", 3, "--batch", 4)
    assert done.code == 0 and "without five-point alignment" in done.out
    text = (tmp_path / "ds" / "config_infer_secondary_face.txt").read_text()
    assert "operate-on-gie-id=3\n" in text and "net-scale-factor=0.0078125\n" in text
    assert "infer-dims=3;112;112\n" in text


BAD: list[tuple[str, str]] = [
    ("import {text} --out {new}", "{text} is not an ONNX file"),
    ("import {missing} --out {new}", "ONNX file not found: {missing}"),
    ("import {bundle} --out {new}", "is a folder, not an ONNX file"),
    ("import {theirs} --out {new} --input 112x96", "takes 112x112 (height x width)"),
    ("import {theirs} --out {new} --input big", "--input takes height x width"),
    ("import {theirs} --out {new} --range 0..2", "--range must be one of -1..1, 0..255, 0..1"),
    ("import {theirs} --out {new} --mean 127.5", "--mean and --std belong together"),
    ("import {theirs} --out {new} --mean 0 --std 0", "--std must be above 0"),
    ("import {theirs} --out {new} --mean nan --std 1", "--mean must be a number"),
    ("import {theirs} --out {new} --mean 0 --std 1 --range 0..1", "give one of them"),
    ("import {theirs} --out {new} --color GBR", "--color must be RGB or BGR"),
    ("import {theirs} --out {new} --layout NHWC", "leave --layout out"),
    ("import {theirs} --out {new} --layout HWC", "--layout must be NCHW or NHWC"),
    ("import {theirs} --out {new} --output nope", "--output nope"),
    ("import {theirs} --out {new} --template {text}", "is not JSON"),
    ("import {theirs} --out {new} --template nobody", "takes edgeface, arcface or a JSON file"),
    ("import {theirs} --out {new} --template arcface --crop box", "--template goes with --crop aligned"),
    ("import {theirs} --out {new} --crop round", "--crop must be aligned or box"),
    ("import {theirs} --out {new} --precision int8", "--precision int8 is calibrated on real faces"),
    ("import {theirs} --out {new} --precision int4", "unknown --precision 'int4'"),
    ("import {theirs} --out {new} --precision ,", "--precision is empty"),
    ("import {theirs} --out {new} --count 0", "--count must be at least 1"),
    ("import {theirs} --out {new} --faces {faces}", "edgeface data align --size 112x112"),
    ("import {theirs} --out {bundle}", "{bundle} exists"),
    ("import {theirs} --out {new}.zip", "a bundle is a folder or an uncompressed .tar"),
    ("deepstream {missing} --out {new}", "bundle not found"),
    ("deepstream {bundle} --out {bundle}", "{bundle} exists: choose another --out"),
    ("deepstream {bundle} --out {new} --precision int8", "has no int8 model"),
    ("deepstream {bundle} --out {new} --precision int4", "unknown --precision"),
    ("deepstream {bundle} --out {new} --primary-id 0", "--primary-id must be at least 1"),
    ("deepstream {bundle} --out {new} --batch 0", "--batch must be 1 to 1024"),
]


@pytest.mark.parametrize(("command", "words"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    cli: Cli, chain: Any, theirs: Path, tmp_path: Path, command: str, words: str
) -> None:
    (tmp_path / "text.txt").write_text("no model at all\n" * 9)
    places = {
        "theirs": theirs, "bundle": chain.bundle, "faces": chain.faces, "text": tmp_path / "text.txt",
        "missing": tmp_path / "missing", "new": tmp_path / "new",
    }  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in chain.bundle.iterdir()}
    done = cli("bundle", *(part.format(**places) for part in command.split()))
    assert done.code == 2, done
    assert done.err.startswith("edgeface: ") and done.err.count("\n") == 1 and done.out == ""
    assert words.format(**places) in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    assert {path: path.stat().st_mtime_ns for path in chain.bundle.iterdir()} == before


def test_a_size_without_a_template_of_its_own_asks_for_one(cli: Cli, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.Flatten(), nn.LazyLinear(64))
    net(torch.rand(1, 3, 128, 96))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.rand(1, 3, 128, 96),), str(tmp_path / "m.onnx"), dynamo=False)
    done = cli("bundle", "import", tmp_path / "m.onnx", "--out", tmp_path / "b", "--range", "0..255")
    assert done.code == 2 and "give --template FILE with its five points, or --crop box" in done.err
    done = cli("bundle", "import", tmp_path / "m.onnx", "--out", tmp_path / "b", "--crop", "box", "--json", "--quiet")
    assert done.code == 0 and (done.data["crop"], done.data["input"]["std"]) == ("box", 127.5)
