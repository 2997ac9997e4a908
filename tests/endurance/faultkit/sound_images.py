"""Pictures as they should be, in every form of the four formats: what is damaged later."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np

Pixels = np.ndarray
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and the steps of the seven passes of an interlaced PNG."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def interlaced_png(picture: Pixels) -> bytes:
    """An interlaced RGB PNG."""
    height, width = picture.shape[:2]
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in ADAM7
        for row in np.ascontiguousarray(picture[top::down, left::right, ::-1])
        if row.size
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rle_bmp(picture: Pixels) -> bytes:
    """An 8-bit BMP in run lengths."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) & 0xF0
    body = b"".join(b"".join(bytes((1, value)) for value in row.tobytes()) + b"\0\0" for row in grey[::-1]) + b"\0\1"
    palette = b"".join(bytes((k, k, k, 0)) for k in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, grey.shape[1], grey.shape[0], 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + head + palette + body


def with_exif(jpeg: bytes, orientation: int = 6) -> bytes:
    """A JPEG that says how it is turned."""
    body = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def coded(suffix: str, *options: int) -> Callable[[Pixels], bytes]:
    """OpenCV's encoder of a format."""
    return lambda picture: cv2.imencode(suffix, picture, list(options))[1].tobytes()


def by_pillow(kind: str, mode: str, **options: object) -> Callable[[Pixels], bytes]:
    """Pillow's, which knows forms that OpenCV does not write."""
    from PIL import Image

    def encode(picture: Pixels) -> bytes:
        image = Image.fromarray(np.ascontiguousarray(picture[..., ::-1])).convert(mode)
        out = io.BytesIO()
        more = {"append_images": [image.rotate(90)], "save_all": True} if options.get("duration") else {}
        image.save(out, kind, **options, **more)
        return out.getvalue()

    return encode


FORMS: dict[str, Callable[[Pixels], bytes]] = {
    "jpeg": coded(".jpg"),
    "progressive jpeg": coded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg with restarts": coded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "grey jpeg": lambda picture: coded(".jpg")(picture[..., 0]),
    "turned jpeg": lambda picture: with_exif(coded(".jpg")(picture)),
    "cmyk jpeg": by_pillow("JPEG", "CMYK"),
    "png": coded(".png"),
    "interlaced png": interlaced_png,
    "16-bit png": lambda picture: coded(".png")(picture.astype(np.uint16) * 257),
    "png with alpha": lambda picture: coded(".png")(np.dstack([picture, picture[..., :1]])),
    "palette png": by_pillow("PNG", "P"),
    "one-bit png": by_pillow("PNG", "1"),
    "animated png": by_pillow("PNG", "RGB", duration=40),
    "bmp": coded(".bmp"),
    "palette bmp": by_pillow("BMP", "P"),
    "one-bit bmp": by_pillow("BMP", "1"),
    "bmp in run lengths": rle_bmp,
    "webp": coded(".webp", cv2.IMWRITE_WEBP_QUALITY, 60),
    "lossless webp": coded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "webp with alpha": lambda picture: coded(".webp", cv2.IMWRITE_WEBP_QUALITY, 60)(
        np.dstack([picture, picture[..., :1]])
    ),
    "animated webp": by_pillow("WEBP", "RGB", duration=40),
}
"""Name -> encoder of (H, W, 3) uint8 BGR."""
