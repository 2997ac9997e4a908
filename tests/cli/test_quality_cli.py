"""Poor faces, the same face under two names, and thresholds by condition, through the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Cli = Callable[..., Any]


@pytest.fixture
def dark(chain: Any, tmp_path: Path) -> Path:
    path = tmp_path / "dark.png"
    cv2.imwrite(str(path), (cv2.imread(str(chain.photo)) * 0.15).astype(np.uint8))
    return path


def test_a_poor_face_is_not_enrolled_unless_told(chain: Any, cli: Cli, dark: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g.db"
    words = ("enroll", chain.bundle, "Bob", chain.photo, dark, "--gallery", gallery)
    refused = cli(*words)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1) and not gallery.exists()
    assert refused.err.startswith(f"edgeface: the face in {dark} is too dark (") and "--accept-poor" in refused.err

    taken = cli(*words, "--accept-poor", "--json")
    assert taken.code == 0 and f"warning: {dark}: poor quality: too dark" in taken.err
    good, poor = (face["quality"] for face in taken.data["faces"])
    assert (good["poor"], good["reasons"], poor["poor"]) == (False, [], True)
    assert poor["brightness"] < 0.12 < good["brightness"] and good["eyes_px"] > 12

    found = cli("identify", chain.bundle, dark, "--gallery", gallery, "--threshold", -1, "--json")
    assert f"warning: {dark}, face 1: poor quality: too dark" in found.err
    assert found.data[0]["faces"][0]["quality"]["reasons"] == poor["reasons"]
    verified = cli("verify", chain.bundle, chain.photo, dark, "--threshold", -1, "--json")
    assert f"warning: {dark}: poor quality" in verified.err and verified.data["b"]["quality"]["poor"]
    assert cli("identify", chain.bundle, dark, "--gallery", gallery, "--threshold", -1, "--quiet").err == ""


def test_the_same_face_under_another_name_is_told(chain: Any, cli: Cli, tmp_path: Path) -> None:
    gallery = tmp_path / "g.db"

    def enroll(name: str, *more: str) -> Any:
        done = cli("enroll", chain.bundle, name, chain.photo, "--gallery", gallery, "--json", *more)
        assert done.code == 0
        return done

    first, again = enroll("Ann"), enroll("Ann")
    assert (first.data["duplicates"], first.data["checked_for_duplicates"]) == ([], True)
    assert again.data["duplicates"] == [], "her own name"
    other = enroll("Bob")
    (same,) = other.data["duplicates"]
    assert (same["picture"], same["name"]) == (0, "Ann") and same["score"] == pytest.approx(1, abs=1e-4)
    assert f"warning: {chain.photo} looks like Ann, who is enrolled already (cosine 1.0000)" in other.err
    knowing = enroll("Cid", "--allow-duplicate")
    assert (knowing.data["duplicates"], knowing.data["checked_for_duplicates"]) == ([], False)
    assert "looks like" not in knowing.err
    listed = cli("gallery", "list", "--gallery", gallery, "--json").data
    assert [person["name"] for person in listed] == ["Ann", "Bob", "Cid"], "all the same enrolled"


def test_without_a_threshold_nobody_is_looked_for(chain: Any, cli: Cli, tmp_path: Path) -> None:
    done = cli("enroll", chain.other, "Ann", chain.photo, "--gallery", tmp_path / "g.db")
    assert done.code == 0 and "not looked for under other names: the bundle carries no threshold" in done.err


def test_thresholds_by_condition(chain: Any, cli: Cli, tmp_path: Path) -> None:
    bundle, plot = tmp_path / "bundle", tmp_path / "det.png"
    shutil.copytree(chain.bundle, bundle)
    words = ("calibrate", "threshold", bundle, "--data", chain.faces, "--fmr", ".2", "--conditions", "clean,mask")
    few = ("--threads", 1, "--draws", 2, "--plot", plot)
    done = cli(*words, *few, "--json", "--quiet")
    assert done.code == 0 and done.err == ""
    clean, mask = done.data["conditions"]
    assert (clean["name"], mask["name"], mask["occlusion"]) == ("clean", "mask", "mask")
    rates = [condition["fmr"]["0.2"] for condition in (clean, mask)]
    for rate in rates:
        assert rate["fmr"]["low"] <= rate["fmr"]["value"] <= rate["fmr"]["high"] <= 1 and rate["fmr"]["value"] <= 0.2
        assert rate["fnmr"]["low"] <= rate["fnmr"]["value"] <= rate["fnmr"]["high"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    kept = manifest["decision"]["fmr"]
    assert kept["0.2"] == {"clean": rates[0]["threshold"], "mask": rates[1]["threshold"]} and set(kept) == {
        "0.1",
        "0.2",
    }
    assert manifest["thresholds"]["0.2"] == max(rate["threshold"] for rate in rates)
    assert manifest["thresholds"]["0.1"] == chain.outcomes["calibrate"].data["thresholds"]["0.1"], "kept"
    image = cv2.imread(str(plot))
    assert image is not None and len(np.unique(image.reshape(-1, 3), axis=0)) > 10

    shown = cli("inspect", bundle)
    assert shown.code == 0 and f"clean {rates[0]['threshold']:.4f}, mask {rates[1]['threshold']:.4f}" in shown.out
    told = cli(*words, "--threads", 1)
    assert told.code == 0 and "FMR 95 %" in told.out and "replaces the threshold" in told.err
    assert "the strictest threshold decides" in told.out or "a face counts as covered above" in told.out


def test_no_plot_without_matplotlib(chain: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = (
        "calibrate",
        "threshold",
        chain.bundle,
        "--data",
        chain.faces,
        "--fmr",
        ".2",
        "--plot",
        tmp_path / "a.png",
    )
    done = cli(*words)
    assert done.code == 2 and "pip install 'edgeface[plot]'" in done.err
