"""Every precision of a model against FP32 on the same real faces, and whether it passes its gate.

FP16 is judged in FP16 arithmetic (see half_arithmetic.py), with ONNX's reference evaluator as a second opinion on a
few faces. What ONNX Runtime's CPU gives for an FP16 graph is recorded as `fp16_storage`: rounded weights, computed in
FP32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.drift import GATES, JudgedPairs, measure_drift, missed
from edgeface_export.half_arithmetic import reference_embeddings, write_rounded
from edgeface_export.parity import cosines, embed_onnx, to_input
from edgeface_runtime.errors import GateError
from edgeface_runtime.manifest import InputSpec

__all__ = ["Judge", "Judging", "Progress"]

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, steps done and steps in all."""
REFERENCE_FACES = 2
"""Faces the reference evaluator embeds: seconds each."""
REFERENCE_GATE = 0.999
"""Lowest cosine between FP32 and the reference evaluator that passes."""


@dataclass(frozen=True)
class Judging:
    """What precisions are judged on."""

    faces: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR, aligned crops."""
    pairs: JudgedPairs | None = None
    """Of those faces; without them the cosine alone decides."""
    spec: InputSpec | None = None
    """What the network eats, see `to_input`."""
    threshold: float | None = None
    """Cosine the bundle decides by, where it has one."""
    accept: bool = False
    """Write a precision that misses its gate, and say so in the manifest."""
    progress: Progress = field(default=lambda phase, done, total: None)


class Judge:
    """Holds the embeddings of the FP32 ONNX file `fp32`, and compares others with them."""

    def __init__(self, fp32: Path, judging: Judging) -> None:
        self.judging = judging
        self.reference = self._embed(fp32, "fp32")

    def judge(self, key: str, graph: Path) -> dict[str, Any]:
        """What the manifest records of the ONNX file `graph`, the model `key` of a bundle.

        What misses its gate is among the record's `missed`; `conclude` says what becomes of that.
        """
        precision = key.removesuffix("-cpu")
        gate, judging = GATES[precision], self.judging
        half = "fp16" in precision
        found = self._in_half(graph, key) if half else self._embed(graph, key)
        drift = measure_drift(self.reference, found, judging.pairs, gate, judging.threshold)
        record: dict[str, Any] = {**drift.to_dict(), "gate": asdict(gate)}
        failed = missed(drift, gate)
        if half:
            stored = cosines(self.reference, self._embed(graph, f"{key} storage"))
            record["fp16_storage"] = {"cosine_min": float(stored.min()), "cosine_mean": float(stored.mean())}
        if precision == "fp16":
            few = to_input(judging.faces[:REFERENCE_FACES], judging.spec)
            lowest = float(cosines(self.reference[: len(few)], reference_embeddings(graph, few)).min())
            record["reference_evaluator"] = {"cosine_min": lowest, "faces": len(few)}
            if not lowest >= REFERENCE_GATE:
                failed.append(f"cosine {lowest:.5f} by ONNX's reference evaluator is below {REFERENCE_GATE}")
        if failed:
            record["missed"] = failed
        return record

    def conclude(self, parity: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise GateError where a model misses its gate, and that is not accepted; it says which of the others pass.

        Args:
            parity: key among a bundle's models -> what `judge` said.
        """
        bad = [key for key, record in parity.items() if record.get("missed")]
        if not bad or self.judging.accept:
            return
        good = [key for key in parity if key not in bad]
        told = "; ".join(f"{key} differs from FP32: {', '.join(parity[key]['missed'])}" for key in bad)
        others = f" ({', '.join(good)} would pass)" if good else ""
        raise GateError(f"{told}{others}: {_mend(bad[0].removesuffix('-cpu'))}")

    def _in_half(self, graph: Path, key: str) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory(prefix="edgeface-") as work:
            rounded = Path(work) / graph.name
            write_rounded(graph, rounded)
            return self._embed(rounded, f"{key} arithmetic", optimise=False)

    def _embed(self, graph: Path, what: str, optimise: bool = True) -> NDArray[np.float32]:
        def told(done: int, total: int) -> None:
            self.judging.progress(f"{what}: faces compared", done, total)

        return embed_onnx(graph, self.judging.faces, self.judging.spec, optimise, told)[0]


def _mend(precision: str) -> str:
    anyway = "or write it all the same with --force"
    if precision == "fp16":
        return f"leave fp16 out, {anyway}"
    return f"calibrate on more faces (--calibration) or with another --method, leave {precision} out, {anyway}"
