"""Small files that claim, or really unfold into, far more than they are. Name -> content."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

from faultkit.sound_images import chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int, bits: int = 8, colour: int = 2, body: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG of any claim; `body` is its compressed content, `more` chunks before that."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    content = chunk(b"IDAT", body or zlib.compress(bytes(1000)))
    return SIGNATURE + chunk(b"IHDR", head) + more + content + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zero bytes, compressed."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(1 << 24, count - at))) for at in range(0, count, 1 << 24)]
    return b"".join([*parts, packer.flush()])


def lying_jpeg(width: int, height: int, progressive: int = 0) -> bytes:
    """A JPEG of 16 x 16 pixels that claims others."""
    small = np.zeros((16, 16, 3), np.uint8)
    data = bytearray(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes())
    at = data.find(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again; each visits every block."""
    data = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[
        1
    ].tobytes()
    last = data.rfind(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def lying_bmp(width: int, height: int, compression: int = 0, bits: int = 24) -> bytes:
    """A BMP that is a header."""
    body = b"\0\1" * 40
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    palette = bytes(1024 if bits == 8 else 0)
    start = 54 + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + head + palette + body


def lying_webp(kind: bytes) -> bytes:
    """A WebP that claims the most its kind can."""
    body = {
        b"VP8L": b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + bytes(40),
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF) + bytes(40),
        b"VP8X": bytes(4) + b"\xff\xff\xff" * 2 + bytes(40),
    }[kind]
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def frames(kind: str, side: int, count: int) -> bytes:
    """An animation of large frames, most of them the same."""
    from PIL import Image

    pictures = [Image.fromarray(np.full((side, side, 3), 255 * (k % 2), np.uint8)) for k in range(2)]
    out = io.BytesIO()
    more = [pictures[(k + 1) % 2] for k in range(count - 1)]
    pictures[0].save(out, kind, save_all=True, append_images=more, duration=1, lossless=True)
    return out.getvalue()


CLAIMS: dict[str, Callable[[], bytes]] = {
    "png of 2.5 gigapixels": lambda: png(50_000, 50_000),
    "png of the largest numbers": lambda: png(2**31 - 1, 2**31 - 1),
    "jpeg of 4.3 gigapixels": lambda: lying_jpeg(65_535, 65_535),
    "bmp of 2.5 gigapixels": lambda: lying_bmp(50_000, 50_000),
    "bmp upside down": lambda: lying_bmp(50_000, -(2**31)),
    "bmp in run lengths of 2.5 gigapixels": lambda: lying_bmp(50_000, 50_000, 1, 8),
    "webp": lambda: lying_webp(b"VP8 "),
    "lossless webp": lambda: lying_webp(b"VP8L"),
    "extended webp": lambda: lying_webp(b"VP8X"),
    "jpeg of 64 megapixels in 600 bytes": lambda: lying_jpeg(8000, 8000),
    "progressive jpeg of 64 megapixels in 600 bytes": lambda: lying_jpeg(8000, 8000, 1),
    "png of 64 megapixels in 80 bytes": lambda: png(8000, 8000),
    "bmp of 64 megapixels in 150 bytes": lambda: lying_bmp(8000, 8000),
    "jpeg of a thousand scans": lambda: scans(1600, 1600, 1000),
    "png with a thousand packed texts": lambda: png(
        16, 16, body=zlib.compress(bytes(49 * 16)), more=chunk(b"zTXt", b"name\0\0" + zeros(7_900_000)) * 1000
    ),
}
"""To be refused before any memory is taken for what they claim."""

LARGE: dict[str, Callable[[], bytes]] = {
    "png of 64 megapixels, all black": lambda: png(8000, 8000, body=zeros(24_001 * 8000)),
    "16-bit png with alpha, 64 megapixels": lambda: png(8000, 8000, 16, 6, zeros(64_001 * 8000)),
    "png animation": lambda: frames("PNG", 3000, 60),
    "webp animation": lambda: frames("WEBP", 3000, 60),
}
"""Sound, if odd."""
