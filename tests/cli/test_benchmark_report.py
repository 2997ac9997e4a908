"""`edgeface benchmark --report` on the tiny chain: everything from flags to the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]

FEW = ("--runs", 3, "--warmup", 1, "--batch", "1,2", "--json")


def test_a_page_of_two_bundles_judged_on_pairs(chain: Any, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(chain.bundle, tmp_path / "copy")
    out, judged = tmp_path / "page", ("--images", chain.images, "--pairs", chain.pairs)
    cover = ("--occlusion", "none,mask", "--precision", "fp32,int8")
    done = cli("benchmark", chain.bundle, chain.other, "--report", out, *judged, *cover, *FEW)
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == ["benchmark.html", "benchmark.json"]
    assert json.loads((out / "benchmark.json").read_text()) == done.data
    rows = done.data["rows"]
    assert [(row["name"], row["precision"], row["masking"]) for row in rows] == [
        ("other", "fp32", "none"),
        ("bundle", "fp32", "decoder"),
    ]
    assert rows[0]["filters"] > rows[1]["filters"] > 0
    assert rows[0]["method"] == "" and rows[1]["method"].startswith("l1, sensitivity")
    measured = {(entry["row"], entry["condition"]): entry for entry in done.data["measured"]}
    assert list(measured) == [(0, "clean"), (0, "mask"), (1, "clean"), (1, "mask")]
    for (row, condition), entry in measured.items():
        bundle = chain.bundle if row else chain.other
        kind = "none" if condition == "clean" else condition
        alone = cli("evaluate", bundle, *judged, "--occlusion", kind, "--threads", 1, "--json").data
        for name in ("protocol", "accuracy", "interval", "auc", "eer", "tar", "pairs"):
            assert entry[name] == alone[name], name
    assert [(point["row"], point["protocol"]) for point in done.data["pareto"]] == [
        (0, "images"),
        (1, "images"),
        (0, "images mask"),
        (1, "images mask"),
    ]
    (looks,) = done.data["saliency"]
    assert looks["row"] == 1 and len(looks["faces"]) == 4
    assert {view["network"] for face in looks["faces"] for view in face["views"]} == {
        "feature mask off",
        "feature mask on",
    }
    assert [note for note in done.data["notes"] if "has no int8 model: left out" in note] == done.data["notes"][:2]
    page = (out / "benchmark.html").read_text()
    assert "images mask: 16 pairs, mask" in page and page.count("data:image/jpeg;base64,") == 12


def test_a_page_of_random_weights_says_so(cli: Cli, tmp_path: Path) -> None:
    small = ("--ratios", "0,.4", "--width", 0.125, "--mask", "none", "--precision", "fp32,fp16")
    done = cli("benchmark", *small, "--report", tmp_path, *FEW)
    assert done.code == 0, done.err
    rows = done.data["rows"]
    assert [(row["label"], row["precision"]) for row in rows] == [
        ("0 fp32", "fp32"),
        ("0 fp16", "fp16"),
        ("0.4 fp32", "fp32"),
        ("0.4 fp16", "fp16"),
    ]
    assert rows[1]["size_bytes"] < 0.7 * rows[0]["size_bytes"] and rows[1]["filters"] == rows[0]["filters"]
    assert done.data["notes"] == [
        "random weights: no accuracy, no Pareto front, no saliency; the costs hold for any weights"
    ]
    assert "random weights: costs only" in (tmp_path / "benchmark.html").read_text()


def test_faces_of_people_come_into_the_page_only_when_asked(chain: Any, cli: Cli, tmp_path: Path) -> None:
    for folder, faces in ((tmp_path / "drawn", ()), (tmp_path / "own", ("--faces", chain.faces))):
        done = cli("benchmark", chain.bundle, "--report", folder, *faces, *FEW)
        assert done.code == 0, done.err
        (looks,) = done.data["saliency"]
        assert looks["source"] == ("faces of faces" if faces else "procedural faces")
        assert f"on {looks['source']}" in (folder / "benchmark.html").read_text()
