"""Reading pictures: each kind of good one, and one clear line for each kind of bad one."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import IMAGE_SUFFIXES, list_images, read_image
from edgeface_runtime.image_header import read_header

FORMATS = [".jpg", ".png", ".bmp", ".webp"]
WHITE_LEFT = np.zeros((30, 40, 3), np.uint8)
WHITE_LEFT[:, :20] = 255


def write(path: Path, image: np.ndarray, *options: int) -> Path:
    assert cv2.imwrite(str(path), image, list(options))
    return path


def noise(*shape: int, kind: type = np.uint8) -> np.ndarray:
    top = np.iinfo(kind).max
    return np.random.default_rng(1).integers(0, top, shape, dtype=kind, endpoint=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_is_read(tmp_path: Path, suffix: str) -> None:
    image = read_image(write(tmp_path / f"a{suffix}", WHITE_LEFT))
    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    assert image[:, :10].min() > 240 and image[:, 30:].max() < 15


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("size", [(30, 40), (31, 57), (1, 1)])
def test_the_header_says_the_size(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    header = read_header(write(tmp_path / f"a{suffix}", noise(*size, 3)).read_bytes())
    assert header is not None
    assert (header.height, header.width, header.fault) == (*size, None)


def test_more_variants_are_whole(tmp_path: Path) -> None:
    for options in ([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
        assert read_image(write(tmp_path / "a.jpg", noise(40, 50, 3), *options)).shape == (40, 50, 3)
    lossy = write(tmp_path / "a.webp", noise(40, 50, 3), cv2.IMWRITE_WEBP_QUALITY, 50)
    assert read_image(lossy).shape == (40, 50, 3)
    assert read_image(write(tmp_path / "alpha.webp", noise(40, 50, 4))).shape == (40, 50, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_one_colour_takes_few_bytes_and_is_whole(tmp_path: Path, channels: int) -> None:
    """The fewest bytes a pixel that a JPEG or PNG can have: no sign of a lie about its size."""
    plain = np.full((1600, 1600, channels), 255, np.uint8)
    for options in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_QUALITY, 1]):
        path = write(tmp_path / "a.jpg", plain, cv2.IMWRITE_JPEG_OPTIMIZE, 1, *options)
        assert read_image(path).shape == (1600, 1600, 3)
    assert read_image(write(tmp_path / "a.png", plain, cv2.IMWRITE_PNG_COMPRESSION, 9)).shape == (1600, 1600, 3)


def test_grey_alpha_and_16_bit_become_bgr_bytes(tmp_path: Path) -> None:
    grey = noise(20, 30)
    assert (read_image(write(tmp_path / "g.png", grey)) == grey[..., None]).all()
    alpha = noise(20, 30, 4)
    assert (read_image(write(tmp_path / "a.png", alpha)) == alpha[..., :3]).all()
    deep = noise(20, 30, 3, kind=np.uint16)
    image = read_image(write(tmp_path / "d.png", deep))
    assert image.dtype == np.uint8
    assert np.abs(image.astype(float) - deep / 257).max() <= 1


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", WHITE_LEFT)[1].tobytes()
    tag = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)  # 6: turn a quarter clockwise
    segment = b"Exif\0\0" + tag
    path = tmp_path / "turned.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    image = read_image(path)
    assert image.shape == (40, 30, 3)
    assert image[:15].min() > 240 and image[25:].max() < 15  # left came to the top


def test_the_suffix_need_not_be_right(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", noise(8, 9, 3)).rename(tmp_path / "a.jpg")
    assert read_image(path).shape == (8, 9, 3)


def test_what_is_no_picture_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("BM is how this text begins, and it says nothing of pixels at all")
    (tmp_path / "bytes.jpg").write_bytes(bytes(range(256)))
    (tmp_path / "folder.jpg").mkdir()
    cases = {
        "missing.jpg": "not found",
        "empty.jpg": "is empty",
        "text.jpg": "is not a JPEG, PNG, BMP or WebP picture",
        "bytes.jpg": "is not a JPEG, PNG, BMP or WebP picture",
        "folder.jpg": "is a folder",
        "x" * 300: "cannot read",
    }
    for name, words in cases.items():
        with pytest.raises(ImageError, match=words) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path / f"a{suffix}", noise(90, 120, 3))
    data = path.read_bytes()
    path.write_bytes(data[: max(int(len(data) * share), 20)])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_every_cut_of_a_small_picture_is_refused(tmp_path: Path) -> None:
    for suffix in FORMATS:
        path = write(tmp_path / f"a{suffix}", noise(6, 7, 3))
        data = path.read_bytes()
        for length in range(1, len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(ImageError):
                read_image(path)


def test_a_thumbnail_in_the_header_does_not_hide_a_truncated_jpeg(tmp_path: Path) -> None:
    thumbnail = cv2.imencode(".jpg", noise(8, 8, 3))[1].tobytes()
    data = cv2.imencode(".jpg", noise(60, 60, 3))[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + segment + data[2:-100])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_a_flipped_byte_in_a_png_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", noise(40, 40, 3))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="damaged PNG"):
        read_image(path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    """A few bytes that claim 65,535 x 65,535 pixels would take 12 GB to decode."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 65_535, 65_535, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)))
    with pytest.raises(ImageError, match="65535x65535 pixels, more than 64 megapixels"):
        read_image(path)


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for suffix in FORMATS:
        path = write(tmp_path / f"a{suffix}", noise(24, 24, 3))
        data = path.read_bytes()
        for _ in range(40):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                broken[place] = rng.integers(256)
            path.write_bytes(broken)
            try:
                image = read_image(path)
            except ImageError as exc:
                assert "\n" not in str(exc)
            else:
                assert image.ndim == 3 and image.dtype == np.uint8


def test_list_images(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", ".hidden.jpg", "notes.txt", "sub/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["a.png", "b.JPG", "c.webp"]
    assert {".jpg", ".jpeg", ".png", ".bmp", ".webp"} == IMAGE_SUFFIXES
    with pytest.raises(InputError, match="not found"):
        list_images(tmp_path / "nowhere")
