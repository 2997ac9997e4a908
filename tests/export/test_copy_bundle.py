"""Copies of bundles: the same files, packed or not, and more precisions where asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeface.cli.main import app
from edgeface.data.sample import sample_faces
from edgeface.models import Checkpoint, CheckpointMeta, FaceNet, build_spec
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.copy_bundle import copy_bundle
from edgeface_export.judge import Judging
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import InputError


@pytest.fixture
def bundle(tmp_path: Path, lived_in: Callable[[FaceNet], FaceNet]) -> Path:
    model = lived_in(FaceNet(build_spec("iresnet18", 0.125, mask="decoder", embedding=16)))
    faces = sample_faces(None, 4).crops
    write_bundle(
        Checkpoint(model, CheckpointMeta()), tmp_path / "b", "b", faces, measure_memory=False, half_weights=True
    )
    return tmp_path / "b"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_copy_is_the_same_and_can_be_packed(bundle: Path, tmp_path: Path) -> None:
    copy_bundle(open_bundle(bundle), tmp_path / "c")
    assert files(tmp_path / "c") == files(bundle)
    copy_bundle(open_bundle(bundle), tmp_path / "c.tar")
    assert open_bundle(tmp_path / "c.tar").manifest == open_bundle(bundle).manifest
    copy_bundle(open_bundle(tmp_path / "c.tar"), tmp_path / "again")
    assert files(tmp_path / "again") == files(bundle)


def test_precisions_are_added_to_the_copy_alone(bundle: Path, tmp_path: Path) -> None:
    before = files(bundle)
    made = copy_bundle(open_bundle(bundle), tmp_path / "c", ["fp16"], Judging(sample_faces(None, 6).crops))
    assert set(made.models) == {"fp32", "fp16"} and files(bundle) == before
    copied = open_bundle(tmp_path / "c")
    assert copied.model_id == open_bundle(bundle).model_id, "galleries of one are good for the other"
    assert sorted(files(tmp_path / "c")) == ["manifest.json", "recognizer.fp16.onnx", "recognizer.onnx"]


def test_places_that_are_taken(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a bundle"):
        copy_bundle(open_bundle(bundle), tmp_path / "taken", overwrite=True)
    with pytest.raises(InputError, match="exists: choose another"):
        copy_bundle(open_bundle(bundle), bundle)
    with pytest.raises(InputError, match="is the bundle itself"):
        copy_bundle(open_bundle(bundle), bundle, overwrite=True)
    assert open_bundle(bundle)


def test_the_command_and_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["bundle", "copy", "default", "mine", "--json", "--quiet"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["ratio"]["requested"] == 0.5
    assert open_bundle("mine").model_id == open_bundle("default").model_id
    for refused in (
        ["calibrate", "threshold", "default", "--data", "x"],
        ["bundle", "sign", "default", "--key", "k"],
    ):
        found = CliRunner().invoke(app, refused)
        assert isinstance(found.exception, InputError) and "bundle copy default" in str(found.exception)
    assert np.isfinite(open_bundle("default").manifest.macs or 0)


def test_the_licence_beside_a_folder_goes_with_it(bundle: Path, tmp_path: Path) -> None:
    (bundle / "LICENSE.md").write_text("for research only")
    copy_bundle(open_bundle(bundle), tmp_path / "c")
    assert files(tmp_path / "c") == files(bundle)
    copy_bundle(open_bundle(bundle), tmp_path / "more", ["fp16"], Judging(sample_faces(None, 6).crops))
    assert (tmp_path / "more" / "LICENSE.md").read_text() == "for research only"
