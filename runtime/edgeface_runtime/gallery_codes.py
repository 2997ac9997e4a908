"""Templates in one byte a number, for a first pass over large galleries, and how far that can be off.

A template x is kept as x^ = scale * codes with |x - x^| = error; a probe q as q^ in seven bits. Then, by Cauchy-
Schwarz, <q, x> <= <q^, x^> + |q| error + |q - q^| (1 + error): a row whose bound is below the score of the k-th
person found cannot be among the first k, so scoring the others exactly gives exactly the k best (see gallery_rank).

The products are ONNX Runtime's MatMulInteger where it is installed: of what the runtime has at hand it is the fastest
by far, a fifth of float32's time. Without it (TensorRT devices) numpy does the same sums in three quarters of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Codes", "Probe", "Product", "bounds", "matmul_graph", "quantise", "quantise_probe"]

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int32]

LEVELS = 127
PROBE_LEVELS = 63
"""Seven bits, made positive by an offset: AVX2 adds two 8-bit products in 16 bits, which must not overflow."""
OFFSET = 64
ROUNDING = 1e-5
"""More than float32 can lose in a bound: a few steps of 1e-7."""
LONGEST = 1.002
"""Longer than any template that passes for a unit vector."""
ROWS_AT_ONCE = 4096
DIMENSIONS_AT_ONCE = 16


@dataclass(frozen=True)
class Codes:
    """Rows of one byte a number, and what is known of each."""

    codes: Bytes
    """(T, E)."""
    scale: Floats
    """(T,): a template is nearly scale * codes."""
    error: Floats
    """(T,): length of what that misses, rounded up."""
    sums: Ints
    """(T,): sum of a row's codes."""


@dataclass(frozen=True)
class Probe:
    """A probe in seven bits, and how far that is off."""

    codes: Bytes
    """(E,), in -63 ... 63."""
    scale: float
    length: float
    error: float
    """Length of what the codes miss."""


def quantise(templates: Floats) -> Codes:
    """Codes of templates (T, E) float32."""
    count = len(templates)
    codes = np.empty(templates.shape, np.int8)
    scale, error = np.empty(count, np.float32), np.empty(count, np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        rows = templates[part]
        step = np.maximum(np.abs(rows).max(axis=1), np.float32(1e-30)) / np.float32(LEVELS)
        levels = np.rint(rows / step[:, None])
        codes[part], scale[part] = levels, step
        missed = rows - levels * step[:, None]
        error[part] = np.sqrt(np.einsum("ij,ij->i", missed, missed)) * np.float32(1.001) + np.float32(1e-6)
    return Codes(codes, scale, error, codes.sum(axis=1, dtype=np.int32))


def quantise_probe(probe: Floats) -> Probe:
    """Codes of one unit probe (E,) float32."""
    exact = probe.astype(np.float64)
    scale = float(np.abs(exact).max()) / PROBE_LEVELS
    levels = np.rint(exact / scale)
    return Probe(
        levels.astype(np.int8),
        scale,
        float(np.linalg.norm(exact)),
        float(np.linalg.norm(exact - levels * scale)),
    )


def bounds(probe: Probe, dots: Floats, scale: Floats, error: Floats) -> Floats:
    """What the scores of rows can be at most, (T,) float32, from the products of codes with the probe's, (T,)."""
    result = dots * scale
    result *= np.float32(probe.scale)
    result += error * np.float32(probe.length + probe.error)
    result += np.float32(LONGEST * probe.error + ROUNDING)
    return result


class Product:
    """Products of one probe's codes with a block of rows; the same whole numbers whoever computes them."""

    @cached_property
    def _session(self) -> Any:
        return _session()

    @property
    def name(self) -> str:
        """Who computes."""
        return "numpy" if self._session is None else "onnxruntime"

    def __call__(self, probe: Probe, block: Bytes, sums: Ints) -> Floats:
        """(T,) float32: products of the probe with the first T columns of a block (E, R); `sums` (T,) of these."""
        if self._session is None:
            return _multiply(probe, block)[: len(sums)]
        lifted = (probe.codes.astype(np.int16) + OFFSET).astype(np.uint8)
        dots: Ints = self._session.run(None, {"probe": lifted[None], "block": block})[0][0, : len(sums)]
        dots -= OFFSET * sums
        return dots.astype(np.float32)


def _multiply(probe: Probe, block: Bytes) -> Floats:
    total = np.zeros(block.shape[1], np.float32)
    values = probe.codes.astype(np.float32)
    for start in range(0, len(block), DIMENSIONS_AT_ONCE):
        part = slice(start, start + DIMENSIONS_AT_ONCE)
        total += values[part] @ block[part].astype(np.float32)
    return total


def _session() -> Any:
    """ONNX Runtime for the one operator, on one thread; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(matmul_graph(), options, providers=["CPUExecutionProvider"])


def matmul_graph() -> bytes:
    """The ONNX file of dots (1, R) int32 = MatMulInteger(probe (1, E) uint8, block (E, R) int8), written by hand."""

    def field(number: int, content: bytes | str | int) -> bytes:
        if isinstance(content, int):
            return bytes([number << 3, content])
        data = content.encode() if isinstance(content, str) else content
        length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
        return bytes([number << 3 | 2]) + length + data

    def value(name: str, kind: int, rows: str | int, columns: str) -> bytes:
        first = field(1, rows) if isinstance(rows, int) else field(2, rows)
        shape = field(1, first) + field(1, field(2, columns))
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    node = field(1, "probe") + field(1, "block") + field(2, "dots") + field(4, "MatMulInteger")
    graph = field(1, node) + field(2, "dots")
    graph += field(11, value("probe", 2, 1, "E")) + field(11, value("block", 3, "E", "R"))
    graph += field(12, value("dots", 6, 1, "R"))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 10))
