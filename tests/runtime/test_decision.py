"""Which threshold decides: by condition, by gallery, and what a damaged table says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.decision import Decision, FpirEntry, choose
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.manifest import Manifest
from edgeface_runtime.threshold import choose_threshold

MakeBundle = Callable[..., Path]
TABLE = {"clean": 0.4, "mask": 0.5, "random": 0.3}
DECISION = Decision({"0.001": TABLE}, {"0.01": FpirEntry(100, {"clean": 0.45, "mask": 0.55})}, 0.2)


def test_by_condition() -> None:
    assert choose(TABLE, False).value == 0.4
    assert choose(TABLE, True).value == 0.5, "the strictest of the covered ones"
    assert choose({"clean": 0.6, "mask": 0.3, "random": 0.2}, True).value == 0.3, "not the clean one"
    unknown = choose(TABLE, None)
    why = "the strictest of clean, mask and random: no calibrated measure tells whether a face is covered"
    assert (unknown.value, unknown.why) == (0.5, why)
    only_covered = choose({"mask": 0.3, "random": 0.35}, False)
    assert (only_covered.value, "strictest" in only_covered.why) == (0.35, True), "clean was not measured"
    assert choose({"clean": 0.4}, True).why == "" and choose({"mask": 0.4}, None).why == "measured with mask"


def bundle(make: MakeBundle, name: str = "b", **more: Any) -> Any:
    thresholds = {"0.001": 0.5}
    return open_bundle(make(name, thresholds=thresholds, extra={"decision": DECISION.to_dict()}, **more))


def test_of_a_bundle(tiny_bundle: MakeBundle) -> None:
    opened = bundle(tiny_bundle)
    assert opened.manifest.decision == DECISION
    assert choose_threshold(opened).value == 0.5
    clean = choose_threshold(opened, covered=False)
    assert clean.value == 0.4
    assert clean.source == "bundle, false match rate 0.001, that of clean, for a face that is not covered"
    assert choose_threshold(opened, 0.7, covered=False, templates=3).source == "given"


def test_of_a_gallery(tiny_bundle: MakeBundle) -> None:
    opened = bundle(tiny_bundle)
    within = choose_threshold(opened, covered=False, templates=100)
    assert within.value == 0.45
    assert within.source.startswith(
        "bundle, false positive identification rate 0.01 with 100 templates, that of clean"
    )
    beyond = choose_threshold(opened, covered=False, templates=101)
    assert beyond.value == 0.45 and "(this gallery has 101: false alarms are likelier)" in beyond.source
    assert choose_threshold(opened, covered=True, templates=101).value == 0.55
    assert choose_threshold(opened, fmr="0.001", covered=False, templates=5).value == 0.4, "asked for by name"


def test_beyond_its_gallery_it_is_not_below_the_false_match_rates(tiny_bundle: MakeBundle) -> None:
    decision = Decision({"0.001": {"clean": 0.5}}, {"0.1": FpirEntry(10, {"clean": 0.3})})
    opened = open_bundle(tiny_bundle("b", thresholds={"0.001": 0.5}, extra={"decision": decision.to_dict()}))
    assert choose_threshold(opened, templates=10).value == 0.3
    beyond = choose_threshold(opened, templates=11)
    assert beyond.value == 0.5 and "which is stricter than" in beyond.source


def test_a_runtime_that_does_not_know_the_table_decides_by_the_strictest(tiny_bundle: MakeBundle) -> None:
    written = json.loads((bundle(tiny_bundle).folder / "manifest.json").read_text())
    assert written["version"] == 1 and written["thresholds"]["0.001"] == max(TABLE.values())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"fmr": {"0.1": {"clean": "high"}}}, "is not of type float"),
        ({"fmr": {"0.1": {}}}, "are no cosines"),
        ({"fmr": {"0.1": {"clean": 7.0}}}, "are no cosines"),
        ({"fmr": {"often": {"clean": 0.1}}}, "'often' is no error rate"),
        ({"fmr": {"2": {"clean": 0.1}}}, "'2' is no error rate"),
        ({"fpir": {"0.1": {"thresholds": {"clean": 0.2}}}}, "templates is missing"),
        ({"fpir": {"0.1": 4}}, "is not of type dict"),
        ({"covered_above": "much"}, "covered_above is not"),
    ],
)
def test_damage_is_one_line(tiny_bundle: MakeBundle, damage: dict[str, Any], words: str) -> None:
    data = json.loads((tiny_bundle() / "manifest.json").read_text())
    data["decision"] = {"covered_above": None, "fmr": {}, "fpir": {}, **damage}
    with pytest.raises(ArtefactError, match=words) as caught:
        Manifest.from_dict(data)
    assert "\n" not in str(caught.value)


def test_what_is_no_table_at_all(tiny_bundle: MakeBundle) -> None:
    data = json.loads((tiny_bundle() / "manifest.json").read_text())
    for wrong in (3, [], None, {}):
        with pytest.raises(ArtefactError):
            Manifest.from_dict({**data, "decision": wrong})
