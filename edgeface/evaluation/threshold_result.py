"""What measuring thresholds gives: error rates by condition, with 95 % intervals over people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeface_calibration.metrics import Interval
from edgeface_runtime.decision import Decision, FpirEntry

__all__ = ["ConditionResult", "OneToMany", "OneToOne", "ThresholdResult"]


@dataclass(frozen=True)
class OneToOne:
    """Pairs of pictures, decided by one threshold."""

    threshold: float
    """Cosine."""
    fmr: Interval
    """False matches among pairs of different people."""
    fnmr: Interval | None
    """Misses among pairs of one person; None where nobody has two pictures."""


@dataclass(frozen=True)
class OneToMany:
    """Probes against galleries, decided by one threshold."""

    threshold: float
    fpir: Interval
    """False alarms among probes of people who are not enrolled."""
    fnir: Interval | None
    """Misses among probes of people who are; None where there is none."""


@dataclass(frozen=True)
class ConditionResult:
    """One condition: nothing covers the faces, or one kind of cover lies on one picture of every pair."""

    name: str
    occlusion: str
    """The cover and its size, in words; `none`."""
    fmr: dict[str, OneToOne]
    """False match rate as text -> what its threshold does."""
    fpir: dict[str, OneToMany]
    """False positive identification rate as text -> what its threshold does."""
    det: tuple[tuple[float, float], ...]
    """(FMR, FNMR) from the smallest rate these pairs carry to .1; empty without genuine pairs."""
    seen_covered: float | None
    """Share of its faces that a device takes for covered; None where nothing tells."""


@dataclass(frozen=True)
class ThresholdResult:
    """What was measured."""

    conditions: tuple[ConditionResult, ...]
    people: int
    faces: int
    impostor_pairs: int
    """All pairs of different people. They share faces, so they are fewer independent facts than their number."""
    genuine_pairs: int
    gallery_size: int | None
    """People enrolled in each draw, a template each; None where no open set was measured."""
    draws: int
    """Galleries drawn."""
    stranger_probes: int
    """Probes of people not enrolled, in the draw with fewest."""
    mate_probes: int
    covered_above: float | None
    """Covered share above which a device takes a face for covered; None: the share does not tell."""
    by_regions: bool
    """Whether a mask dictionary decides by its regions which face is covered."""
    data: str
    seed: int
    ran_on: dict[str, Any]
    """What really ran."""
    skipped: tuple[str, ...] = ()
    """Files of the data that are called pictures and are none, each with why."""

    @property
    def thresholds(self) -> dict[str, float]:
        """False match rate -> the highest threshold of any condition."""
        rates = self.conditions[0].fmr
        return {rate: max(found.fmr[rate].threshold for found in self.conditions) for rate in rates}

    @property
    def genuine_accepted(self) -> dict[str, float | None]:
        """Share of genuine pairs accepted at each rate in the worst condition; None where nobody has two pictures."""
        missed = {rate: [found.fmr[rate].fnmr for found in self.conditions] for rate in self.thresholds}
        return {
            rate: min(1 - interval.value for interval in row if interval is not None) if None not in row else None
            for rate, row in missed.items()
        }

    @property
    def occlusion(self) -> str:
        """The covers, in words; `none` for clean faces only."""
        return ", ".join(found.occlusion for found in self.conditions)

    @property
    def decision(self) -> Decision:
        """What a bundle keeps to decide by."""
        first = self.conditions[0]
        size = self.gallery_size or 0
        return Decision(
            {rate: {found.name: found.fmr[rate].threshold for found in self.conditions} for rate in first.fmr},
            {
                rate: FpirEntry(size, {found.name: found.fpir[rate].threshold for found in self.conditions})
                for rate in first.fpir
            },
            self.covered_above,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        told = {"thresholds": self.thresholds, "genuine_accepted": self.genuine_accepted, "occlusion": self.occlusion}
        return {**told, **asdict(self)}

    def provenance(self, rate: str) -> dict[str, Any]:
        """What a manifest keeps beside the threshold of a rate: where the number comes from."""
        return {
            "data": self.data,
            "people": self.people,
            "faces": self.faces,
            "impostor_pairs": self.impostor_pairs,
            "occlusion": self.occlusion,
            "genuine_accepted": self.genuine_accepted[rate],
            "fmr": _bounds([found.fmr[rate].fmr for found in self.conditions], self.conditions),
            "fnmr": _bounds([found.fmr[rate].fnmr for found in self.conditions], self.conditions),
        }

    def open_provenance(self, rate: str) -> dict[str, Any]:
        """The same for a false positive identification rate."""
        return {
            "data": self.data,
            "people": self.people,
            "faces": self.faces,
            "gallery_size": self.gallery_size,
            "draws": self.draws,
            "stranger_probes": self.stranger_probes,
            "fpir": _bounds([found.fpir[rate].fpir for found in self.conditions], self.conditions),
            "fnir": _bounds([found.fpir[rate].fnir for found in self.conditions], self.conditions),
        }


def _bounds(
    intervals: Sequence[Interval | None], conditions: Sequence[ConditionResult]
) -> dict[str, list[float] | None]:
    """Condition -> value, low, high."""
    return {
        found.name: None if known is None else [round(value, 8) for value in (known.value, known.low, known.high)]
        for found, known in zip(conditions, intervals, strict=True)
    }
