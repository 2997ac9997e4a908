"""Accidents and attacks on picture files, drawn by a seed: always the same for the same number."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from faultkit.sound_images import chunk

Damage = Callable[[bytearray, random.Random, bytes], bytearray]
"""(content, draw, another picture's content) -> damaged content."""
ODD_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BOMB = zlib.compress(bytes(40_000_000), 9)


def flip(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """Single bits."""
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def smear(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """A run of random bytes, or of zeros as an unwritten sector has."""
    start, size = draw.randrange(len(data)), draw.choice((1, 4, 16, 512))
    data[start : start + size] = draw.choice((bytes(size), draw.randbytes(size)))
    return data


def cut(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """The end is missing."""
    return data[: draw.randrange(len(data))]


def odd_number(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """A number of the header is an extreme one."""
    size = draw.choice((1, 2, 4))
    start = draw.randrange(min(len(data), 80))
    value = draw.choice(ODD_NUMBERS) & (256**size - 1)
    data[start : start + size] = value.to_bytes(size, draw.choice(("big", "little")))
    return data


def odd_size(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """Width or height is another, where the format keeps it."""
    value = draw.choice((0, 1, 3, 500, 7000, 8000, 16383, 65535, 2**31 - 1, 2**32 - 1))
    if data[:2] == b"\xff\xd8":
        at = 2
        while at + 9 < len(data) and data[at] == 0xFF and data[at + 1] not in (0xC0, 0xC1, 0xC2):
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        at += draw.choice((5, 7))
        data[at : at + 2] = (value & 0xFFFF).to_bytes(2, "big")
    elif data[:4] == b"\x89PNG":
        at = draw.choice((16, 20))
        data[at : at + 4] = value.to_bytes(4, "big")
    elif data[:2] == b"BM":
        at = draw.choice((18, 22))
        data[at : at + 4] = value.to_bytes(4, "little")
    else:
        at = draw.choice((24, 27) if data[12:16] == b"VP8X" else (26, 28) if data[12:16] == b"VP8 " else (21, 22))
        data[at : at + 2] = (value & 0xFFFF).to_bytes(2, "little")
    return data


def splice(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """The beginning of one file and the end of another, or both."""
    if draw.random() < 0.3:
        return data + other
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


def shuffle(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """A part twice, or gone, or elsewhere."""
    start = draw.randrange(len(data))
    part = data[start : start + draw.choice((1, 13, 200, 4096))]
    if draw.random() < 0.6:
        del data[start : start + len(part)]
    if draw.random() < 0.6:
        at = draw.randrange(len(data) + 1)
        data[at:at] = part
    return data


def garbage_exif(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """EXIF data that makes no sense, loops or points outside."""
    entries = draw.choice((0, 1, 3, 200, 65535))
    tag = struct.pack(
        "<HHII",
        draw.choice((0x0112, 0x8769, 0x0201)),
        draw.randrange(14),
        draw.choice(ODD_NUMBERS),
        draw.choice((8, 2**32 - 1, 6, 9)),
    )
    offset = draw.choice((0, 8, 2**32 - 1))
    tiff = (
        b"II*\0"
        + struct.pack("<IH", draw.choice((8, 8, 0, 2**32 - 1)), entries)
        + tag * min(entries, 100)
        + struct.pack("<I", offset)
    )
    if data[:2] == b"\xff\xd8":
        body = b"Exif\0\0" + tiff
        data[2:2] = b"\xff\xe1" + struct.pack(">H", min(len(body) + 2, 65535)) + body
    elif data[:4] == b"\x89PNG":
        data[33:33] = chunk(b"eXIf", tiff)
    elif data[:4] == b"RIFF":
        data += b"EXIF" + struct.pack("<I", len(tiff)) + tiff
        data[4:8] = struct.pack("<I", len(data) - 8)
    return data


def odd_chunk(data: bytearray, draw: random.Random, other: bytes) -> bytearray:
    """Into a PNG a chunk, sound in itself, that does not belong; into a JPEG a segment."""
    body = draw.choice(
        (b"", draw.randbytes(26), b"name\0\0" + BOMB, b"name\0\1\0\0\0" + BOMB, struct.pack(">II", 2**31 - 1, 0))
    )
    if data[:4] == b"\x89PNG":
        kind = draw.choice(
            (
                b"iCCP",
                b"zTXt",
                b"iTXt",
                b"acTL",
                b"fcTL",
                b"fdAT",
                b"PLTE",
                b"tRNS",
                b"sBIT",
                b"IDAT",
                b"IHDR",
                b"gAMA",
            )
        )
        data[33:33] = chunk(kind, body)
    elif data[:2] == b"\xff\xd8":
        body = body[:65000]
        kind = draw.choice((0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xE2, 0xEE, 0xFE, 0xDC, 0xCC))
        data[2:2] = bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body
    return data


DAMAGES: tuple[Damage, ...] = (flip, smear, cut, odd_number, odd_size, splice, shuffle, garbage_exif, odd_chunk)


def mended_png(data: bytearray) -> bytearray:
    """A PNG whose checksums are right again, so that damage gets past them."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


def damaged(sound: list[bytes], number: int) -> tuple[str, bytes]:
    """The `number`-th case: what was done, and the content."""
    draw = random.Random(number)
    chosen = number % len(sound)
    data, other = bytearray(sound[chosen]), draw.choice(sound)
    words = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        kind = draw.choice(DAMAGES)
        data = kind(data, draw, other)
        words.append(kind.__name__)
    if data[:4] == b"\x89PNG" and draw.random() < 0.7:
        data = mended_png(data)
        words.append("mended")
    return " ".join(words), bytes(data)
