"""`default`: the model that comes with the package."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgeface_runtime import shipped
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.engine_place import engine_folders
from edgeface_runtime.errors import InputError
from edgeface_runtime.shipped import SHIPPED, is_shipped, refuse_shipped


def test_it_opens_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = open_bundle("default")
    assert bundle.source == SHIPPED
    manifest = bundle.manifest
    assert (manifest.ratio.requested, manifest.masking, manifest.crop) == (0.5, "decoder", "aligned")
    assert "research only" in manifest.weights["licence"]
    assert {"LFW", "CelebA"} <= set(manifest.weights["data"].replace(",", " ").split())
    entry = manifest.files[manifest.models["fp32"]]
    assert hashlib.sha256((SHIPPED / manifest.models["fp32"]).read_bytes()).hexdigest() == entry.sha256
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 16e6


def test_its_licence_and_card_lie_beside_it() -> None:
    assert "research" in (SHIPPED / "LICENSE.md").read_text().lower()
    card = (SHIPPED / "MODEL_CARD.md").read_text()
    assert all(f"## {part}" in card for part in ("Data", "Measured", "Limits"))


def test_two_things_of_that_name_are_not_guessed_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    with pytest.raises(InputError, match=r"is the shipped model and also .*/default: give that one's whole path"):
        open_bundle("default")


def test_a_package_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "none")
    with pytest.raises(InputError, match="without its default model"):
        open_bundle("default")


def test_it_is_not_changed_and_its_engines_go_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    assert is_shipped(Path("default")) and is_shipped(SHIPPED) and not is_shipped(tmp_path)
    assert engine_folders(SHIPPED) == [tmp_path / "cache" / "engines"]
    with pytest.raises(InputError, match="takes no thresholds: edgeface bundle copy default DIR"):
        refuse_shipped(SHIPPED, "thresholds")
    refuse_shipped(tmp_path, "thresholds")
