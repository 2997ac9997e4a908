"""Addresses of galleries: what is understood, what is refused, and that secrets stay out of every text."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery_open import open_gallery
from edgeface_runtime.milvus_address import MilvusAddress, parse_address


@pytest.mark.parametrize(
    ("spec", "expected", "uri", "place"),
    [
        ("milvus://h/p", MilvusAddress("h", "p"), "http://h:19530", "milvus://h:19530/p"),
        ("milvus://h:1/db/p", MilvusAddress("h", "p", 1, "db"), "http://h:1", "milvus://h:1/db/p"),
        ("milvus+tls://h/p", MilvusAddress("h", "p", tls=True), "https://h:19530", "milvus+tls://h:19530/p"),
        ("milvus://[::1]:5/p", MilvusAddress("::1", "p", 5), "http://[::1]:5", "milvus://[::1]:5/p"),
        (
            "milvus+tls://ada:s%40cret@h/p",
            MilvusAddress("h", "p", tls=True, token="ada:s@cret"),
            "https://h:19530",
            "milvus+tls://h:19530/p",
        ),
        (Path("milvus://h:1/p"), MilvusAddress("h", "p", 1), "http://h:1", "milvus://h:1/p"),
    ],
)
def test_addresses(spec: str | Path, expected: MilvusAddress, uri: str, place: str) -> None:
    found = parse_address(spec, {})
    assert (found, found.uri, found.place) == (expected, uri, place)


@pytest.mark.parametrize(
    "spec",
    [
        "milvus://h",
        "milvus:///p",
        "milvus://h:x/p",
        "milvus://h:99999/p",
        "milvus://h/a/b/c",
        "milvus://h/peo-ple",
        "milvus://h/1p",
        "milvus://u:secret@h/p?x=1",
        "milvus://u:secret@h:secret/p",
    ],
)
def test_a_bad_address_is_refused_without_showing_it(spec: str) -> None:
    with pytest.raises(InputError, match="give milvus://host:19530/name") as caught:
        parse_address(spec, {})
    assert "secret" not in str(caught.value)


def test_files_are_files_and_other_servers_are_unknown(tmp_path: Path) -> None:
    for name in ("people.db", "a:b.db"):
        with pytest.raises(InputError, match="gallery not found"):
            open_gallery(tmp_path / name)
        with pytest.raises(InputError, match="gallery not found"):
            open_gallery(name)
    with pytest.raises(InputError, match="unknown kind of gallery redis"):
        open_gallery("redis://h/x")
    with pytest.raises(InputError, match="--cache keeps a copy of a gallery on a server"):
        open_gallery(tmp_path / "p.db", "m", 8, create=True, cache=tmp_path / "c.db")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_gives_token_and_certificate(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("x")
    known = {"EDGEFACE_MILVUS_TOKEN": "key", "EDGEFACE_MILVUS_CA": str(pem)}
    assert parse_address("milvus+tls://h/p", known) == MilvusAddress("h", "p", tls=True, token="key", ca=pem)
    assert parse_address("milvus://u:v@h/p", known).token == "u:v"
    assert "key" not in repr(parse_address("milvus+tls://h/p", known))
    with pytest.raises(InputError, match="no such file"):
        parse_address("milvus+tls://h/p", {"EDGEFACE_MILVUS_CA": str(tmp_path / "none")})
