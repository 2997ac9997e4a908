"""nvinfer's configuration, read as nvinfer reads it: the network input it makes is the runtime's own."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeface_export.deepstream import CONFIG, DeepStreamSettings, config_text, write_deepstream
from edgeface_runtime.bundle import Bundle, open_bundle
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import InputSpec, Manifest, write_manifest

Make = Callable[..., Bundle]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A bundle's folder with some bytes for each model: nothing here runs them."""

    def write(spec: InputSpec | None = None, **changes: object) -> Bundle:
        folder = tmp_path / "bundle"
        folder.mkdir(exist_ok=True)
        models = {key: f"recognizer.{key}.onnx" for key in ("fp32", "fp16", "int8", "int8+fp16")}
        for name in models.values():
            (folder / name).write_bytes(name.encode())
        points = tuple((float(k), float(k * k)) for k in range(5))
        manifest = Manifest("tiny", "2026-01-01", models, points, input=spec or InputSpec(), embedding_size=128)
        write_manifest(folder, replace(manifest, **changes))  # type: ignore[arg-type]
        return open_bundle(folder)

    return write


def read(text: str) -> configparser.SectionProxy:
    """As glib's key files are read: `#` begins a comment only at the start of a line, a key stands once."""
    parser = configparser.ConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True, interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["property"]
    return parser["property"]


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(),
        InputSpec(112, 112, color="BGR", mean=127.5, std=128.0),
        InputSpec(8, 6, mean=0.0, std=255.0),
        InputSpec(8, 6, color="BGR", mean=0.0, std=1.0),
        InputSpec(8, 6, mean=103.94, std=58.8),
    ],
)
def test_the_input_nvinfer_makes_is_the_runtimes(make: Make, spec: InputSpec) -> None:
    found = read(config_text(make(spec), DeepStreamSettings()))
    channels, height, width = (int(side) for side in found["infer-dims"].split(";"))
    assert (channels, found["network-input-order"]) == (3, "0")
    crops = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    order = {"0": (2, 1, 0), "1": (0, 1, 2)}[found["model-color-format"]]  # of BGR pixels, for 0=RGB, 1=BGR
    scale = float(found["net-scale-factor"])
    offsets = [float(value) for value in found["offsets"].split(";")]
    assert len(offsets) == 3
    made = np.empty((3, 3, height, width), np.float64)
    for plane, channel in enumerate(order):
        made[:, plane] = scale * (crops[..., channel].astype(np.float64) - offsets[plane])
    np.testing.assert_allclose(made, to_batch(crops, spec), rtol=1e-5, atol=1e-5)


def test_it_is_a_secondary_engine_that_hands_out_tensors(make: Make) -> None:
    bundle = make(outputs=("embedding", "covered_share"), masking="decoder")
    found = read(config_text(bundle, DeepStreamSettings("fp16", primary_id=3, batch=8)))
    wanted = {
        "process-mode": "2",
        "network-type": "100",
        "output-tensor-meta": "1",
        "operate-on-gie-id": "3",
        "gie-unique-id": "4",
        "batch-size": "8",
        "network-mode": "2",
        "output-blob-names": "embedding;covered_share",
        "maintain-aspect-ratio": "1",
        "symmetric-padding": "1",
        "onnx-file": "recognizer.fp16.onnx",
        "model-engine-file": "recognizer.fp16.onnx_b8_gpu0_fp16.engine",
    }
    assert {key: found[key] for key in wanted} == wanted


def test_int8_cannot_silently_become_fp16(make: Make) -> None:
    """Without a calibration table nvinfer says "Trying FP16 mode" and goes on: so it is given an engine only."""
    for precision in ("int8", "int8+fp16"):
        found = read(config_text(make(), DeepStreamSettings(precision)))
        assert found["network-mode"] == "1" and "onnx-file" not in found
    assert read(config_text(make(), DeepStreamSettings("fp32")))["network-mode"] == "0"


def test_the_folder_is_complete_and_says_what_boxes_cost(make: Make, tmp_path: Path) -> None:
    bundle = make(weights={"licence": "CC\n[property]\nnetwork-mode=0"}, name="a\nprocess-mode=1")
    out = tmp_path / "ds"
    assert write_deepstream(bundle, out, DeepStreamSettings()) == sorted(path.name for path in out.iterdir())
    found = read((out / CONFIG).read_text())
    assert (out / found["onnx-file"]).read_bytes() == b"recognizer.fp16.onnx"
    assert (found["process-mode"], found["network-mode"]) == ("2", "2"), "a name cannot add settings"
    readme = (out / "README.md").read_text()
    assert "aligns nothing" in readme and "98.4 % aligned, 92.7 % on boxes" in readme and "Not run here" in readme
    assert f"--out {found['model-engine-file']}" in readme
    with pytest.raises(InputError, match=r"ds exists: choose another --out"):
        write_deepstream(bundle, out, DeepStreamSettings())


def test_a_bundle_for_boxes_is_not_warned_about(make: Make, tmp_path: Path) -> None:
    write_deepstream(make(crop="box"), tmp_path / "ds", DeepStreamSettings())
    assert "aligns nothing" not in (tmp_path / "ds" / "README.md").read_text()
    found = read((tmp_path / "ds" / CONFIG).read_text())
    assert found["maintain-aspect-ratio"] == "0" and "symmetric-padding" not in found, "as `box_crop` makes them"


def test_settings_that_cannot_be() -> None:
    for settings, words in (
        ({"precision": "int4"}, "unknown --precision 'int4'"),
        ({"primary_id": 0}, "--primary-id"),
        ({"batch": 0}, "--batch"),
    ):
        with pytest.raises(ValueError, match=words):
            DeepStreamSettings(**settings)  # type: ignore[arg-type]
