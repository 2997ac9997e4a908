"""What the bytes of a picture file say without decoding it: its format, its size, and whether its end is there.

OpenCV fills the missing part of a truncated JPEG with grey and says nothing; so the end is looked for here, and so
are small files made to take long: thousands of scans or of compressed texts.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

__all__ = ["Header", "read_header"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers that carry no length."""

JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
"""Frames of which a block of 8 x 8 pixels takes a bit at least."""

MAX_SCANNED = 1_000_000_000
"""Pixels times scans of a JPEG: more takes over a second. A progressive one has about ten scans."""

SCANNED_AT_LEAST = 1_000_000
"""Pixels a scan is counted as at least."""

PNG_PACKED = frozenset({b"iCCP", b"iTXt", b"zTXt"})
MAX_PACKED = 16
"""Chunks with compressed texts: each may take 30 ms to unpack, and nobody reads them."""

RGB_BITS = frozenset({0, 3, 6})
"""BMP compressions that store plain rows: none, and bit fields without or with alpha."""


@dataclass(frozen=True)
class Header:
    """What a picture file says about itself."""

    format: str
    """JPEG, PNG, BMP or WebP."""

    width: int
    """Pixels; 0 where the file ends before it says."""

    height: int
    """Pixels; 0 where the file ends before it says."""

    fault: str | None
    """Why the file cannot be whole ("truncated", "damaged"), or None."""


def read_header(data: bytes) -> Header | None:
    """Read the header of a JPEG, PNG, BMP or WebP file; None for anything else. Never raises for bad bytes."""
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == PNG_SIGNATURE:
        return _png(data)
    if data[:2] == b"BM" and _little(data, 14, 4) in (12, 40, 52, 56, 64, 108, 124):
        return _bmp(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _big(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "big")


def _little(data: bytes, start: int, size: int, signed: bool = False) -> int:
    return int.from_bytes(data[start : start + size], "little", signed=signed)


def _jpeg(data: bytes) -> Header:
    width = height = frame = 0
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in JPEG_BARE:  # a fill byte, or a marker without a length
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        if marker in JPEG_FRAMES:
            frame = marker
            height, width = _big(data, at + 5, 2), _big(data, at + 7, 2)
        following = at + 2 + _big(data, at + 2, 2)
        if marker == 0xDA:
            fault = _scan_fault(data, following, width * height, frame) if width and height else "damaged"
            return Header("JPEG", width, height, fault)
        at = following
    return Header("JPEG", width, height, "truncated" if at + 4 > len(data) else "damaged")


def _scan_fault(data: bytes, start: int, pixels: int, frame: int) -> str | None:
    """What is wrong with the scans that begin at `start`."""
    # Inside a scan FF is always stuffed, so the first FF D9 behind it is the picture's end.
    end = data.find(b"\xff\xd9", start)
    if end < 0 or (frame in JPEG_HUFFMAN and 1024 * (len(data) - start) < pixels):
        return "truncated"
    scans = 1 + data.count(b"\xff\xda", start)
    return "damaged" if scans * max(pixels, SCANNED_AT_LEAST) > MAX_SCANNED else None


def _png(data: bytes) -> Header:
    if len(data) < 24:
        return Header("PNG", 0, 0, "truncated")
    if data[12:16] != b"IHDR":
        return Header("PNG", 0, 0, "damaged")
    width, height = _big(data, 16, 4), _big(data, 20, 4)
    view, at, packed = memoryview(data), 8, 0
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 8 + _big(data, at, 4)
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != _big(data, end, 4):
            return Header("PNG", width, height, "damaged")
        packed += kind in PNG_PACKED
        if packed > MAX_PACKED:
            return Header("PNG", width, height, "damaged")
        if kind == b"IEND":
            return Header("PNG", width, height, None)
        at = end + 4
    return Header("PNG", width, height, "truncated")


def _bmp(data: bytes) -> Header:
    start, size = _little(data, 10, 4), _little(data, 14, 4)
    if size == 12:
        width, height = _little(data, 18, 2), _little(data, 20, 2)
        bits, compression = _little(data, 24, 2), 0
    else:
        width, height = _little(data, 18, 4, signed=True), abs(_little(data, 22, 4, signed=True))
        bits, compression = _little(data, 28, 2), _little(data, 30, 4)
    if len(data) < 14 + size:
        return Header("BMP", max(width, 0), height, "truncated")
    if width <= 0 or height == 0:
        return Header("BMP", 0, 0, "damaged")
    if compression in RGB_BITS:
        needed = start + (width * bits + 31) // 32 * 4 * height
    else:
        needed = _little(data, 2, 4)
    return Header("BMP", width, height, None if len(data) >= needed else "truncated")


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    elif kind == b"VP8L":
        packed = _little(data, 21, 4)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    if len(data) < 30 or len(data) < 8 + _little(data, 4, 4):
        return Header("WebP", width, height, "truncated")
    return Header("WebP", width, height, None if kind in (b"VP8X", b"VP8L", b"VP8 ") else "damaged")
