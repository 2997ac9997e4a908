"""The part of a manifest that says which threshold decides: by what covers a face, and by the size of the gallery.

    "decision": {
      "covered_above": 0.21,                                   share from which a face counts as covered, or null
      "fmr": {"0.001": {"clean": 0.41, "mask": 0.44}},         false match rate -> condition -> cosine
      "fpir": {"0.01": {"templates": 700, "thresholds": {"clean": 0.52, "mask": 0.5}}}
    }

It was added within version 1: `thresholds` holds the highest of each false match rate, by which a runtime that does
not know this part decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.manifest_reader import Reader

__all__ = ["CLEAN", "Chosen", "Decision", "FpirEntry", "choose"]

CLEAN = "clean"
"""The condition of faces that nothing covers; every other one is of covered faces."""
KEY = "decision"
"""Where it stands in the manifest."""

Conditions = Mapping[str, float]
"""Condition -> cosine threshold."""


@dataclass(frozen=True)
class FpirEntry:
    """Thresholds for a false positive identification rate."""

    templates: int
    """Templates of the gallery it was measured with; a larger one gives more false alarms."""
    thresholds: Conditions


@dataclass(frozen=True)
class Decision:
    """All measured thresholds."""

    fmr: Mapping[str, Conditions] = field(default_factory=dict)
    """False match rate, as text, -> condition -> cosine."""
    fpir: Mapping[str, FpirEntry] = field(default_factory=dict)
    """False positive identification rate, as text, -> thresholds and the gallery they hold for."""
    covered_above: float | None = None
    """The covered share above which a face counts as covered; None: the share does not tell."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "covered_above": self.covered_above,
            "fmr": {rate: dict(table) for rate, table in self.fmr.items()},
            "fpir": {
                rate: {"templates": entry.templates, "thresholds": dict(entry.thresholds)}
                for rate, entry in self.fpir.items()
            },
        }

    @classmethod
    def of(cls, extra: Mapping[str, Any], where: str) -> Decision:
        """Read it from a manifest's further fields; an empty one where there is none.

        Raises:
            ArtefactError: it is damaged.
        """
        if KEY not in extra:
            return cls()
        reader = Reader(extra[KEY], where)
        above = extra[KEY].get("covered_above")
        fmr = {_rate(rate, where): _conditions(table, where) for rate, table in reader.table("fmr", dict).items()}
        fpir = {}
        for rate, row in reader.table("fpir", dict).items():
            inner = Reader(row, where)
            fpir[_rate(rate, where)] = FpirEntry(
                inner.get("templates", int), _conditions(inner.get("thresholds", dict), where)
            )
        return cls(fmr, fpir, None if above is None else reader.checked("covered_above", above, float))


def _rate(text: str, where: str) -> str:
    try:
        fits = 0 < float(text) < 1
    except ValueError:
        fits = False
    if not fits:
        raise ArtefactError(f"{where} is damaged: {text!r} is no error rate: calibrate it again")
    return text


def _conditions(table: dict[str, Any], where: str) -> Conditions:
    reader = Reader(table, where)
    found = {name: float(reader.checked(f"decision[{name!r}]", value, float)) for name, value in table.items()}
    if not found or any(abs(value) > 1.001 for value in found.values()):
        raise ArtefactError(f"{where} is damaged: its thresholds by condition are no cosines: calibrate them again")
    return found


@dataclass(frozen=True)
class Chosen:
    """A threshold and why it is this one."""

    value: float
    """Cosine."""
    why: str
    """In words; empty where there was nothing to choose from."""


def choose(table: Conditions, covered: bool | None) -> Chosen:
    """The threshold of a face.

    Args:
        table: condition -> cosine, not empty.
        covered: whether the face is covered; None where nothing tells. Then, and where its condition was not
            measured, the strictest threshold decides.
    """
    fitting = {name: value for name, value in table.items() if covered is not None and (name != CLEAN) == covered}
    measured = _listed(table)
    if len(table) == 1:
        only = next(iter(table))
        return Chosen(table[only], "" if only == CLEAN else f"measured with {only}")
    if covered is None:
        return Chosen(
            max(table.values()), f"the strictest of {measured}: no calibrated measure tells whether a face is covered"
        )
    seen = "covered" if covered else "not covered"
    if not fitting:
        return Chosen(max(table.values()), f"the strictest of {measured}, for a face that is {seen}")
    if len(fitting) == 1:
        return Chosen(next(iter(fitting.values())), f"that of {next(iter(fitting))}, for a face that is {seen}")
    return Chosen(max(fitting.values()), f"the strictest of {_listed(fitting)}, for a face that is {seen}")


def _listed(names: Iterable[str]) -> str:
    """`clean, mask and random`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
