"""A fleet's gallery with a copy on the device: the server away, back, and changed meanwhile by somebody else."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime import gallery_fleet, milvus_gallery
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError, ServerError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_fleet import FleetGallery
from edgeface_runtime.gallery_open import open_gallery
from edgeface_runtime.milvus_address import parse_address
from edgeface_runtime.milvus_gallery import MilvusGallery
from edgeface_runtime.milvus_server import MilvusServer

MODEL, SIZE = "a" * 64, 32
ROWS = np.random.default_rng(0).standard_normal((40, SIZE)).astype(np.float32)
UNITS = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
NAMES = itertools.count()


@pytest.fixture
def server(lite_server: Any) -> Iterator[Any]:
    yield lite_server
    if lite_server._running is None:
        lite_server.start()


@pytest.fixture
def spec(server: Any) -> str:
    """A gallery of eight people on the server."""
    place: str = server.spec(f"f{next(NAMES)}")
    with open_gallery(place, MODEL, SIZE, create=True) as gallery:
        gallery.enroll_batch([f"P{i}" for i in range(8)], ROWS[:8])
    return place


@pytest.fixture
def device(spec: str, tmp_path: Path) -> Callable[..., FleetGallery]:
    """Opens the gallery with this device's copy."""

    def open_here(model: str | None = MODEL, create: bool = False) -> FleetGallery:
        gallery = open_gallery(spec, model, SIZE if model else None, create, cache=tmp_path / "copy.db")
        assert isinstance(gallery, FleetGallery)
        return gallery

    return open_here


def on_disk(folder: Path) -> bytes:
    """All bytes of the copy: file, log, index."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen in 10 s"
        time.sleep(0.02)


def test_the_copy_goes_on_while_the_server_is_away_and_says_so(
    server: Any, spec: str, device: Callable[..., FleetGallery], tmp_path: Path
) -> None:
    with device(create=True) as gallery:
        gallery.enroll("Ada", ROWS[20], "/home/ada/private.jpg")
        before = [gallery.search(probe, 5) for probe in ROWS[18:24]]
        assert gallery.source().to_dict() == {"source": spec, "copy_of": None, "stale_since": None, "reason": None}
        server.stop()
        after = [gallery.search(probe, 5) for probe in ROWS[18:24]]
        for left, right in zip(before, after, strict=True):
            assert [c.name for c in left] == [c.name for c in right]
            assert np.allclose([c.score for c in left], [c.score for c in right], rtol=0, atol=1e-6)
        source = gallery.source()
        assert (source.source, source.copy_of) == (str(tmp_path / "copy.db"), spec)
        assert source.stale_since is not None and "cannot be reached (no connection)" in str(source.reason)
        assert gallery.count() == 9 and len(gallery.people()) == 9
        for change in (
            lambda: gallery.enroll("Bob", ROWS[21]),
            lambda: gallery.delete("Ada"),
            lambda: gallery.replace(1, ROWS[21]),
        ):
            with pytest.raises(ServerError, match="until it is back nobody is enrolled or deleted") as caught:
                change()
            assert "\n" not in str(caught.value)
    with device(create=True) as gallery:  # opened while the server is away
        assert gallery.search(ROWS[20], 1)[0].name == "Ada" and gallery.source() == source
    server.start()
    with device() as gallery:
        assert gallery.source().copy_of is None and gallery.count() == 9
    assert b"private.jpg" not in on_disk(tmp_path)


def test_what_others_changed_meanwhile_reaches_the_copy_and_the_erased_leave_it(
    server: Any, spec: str, device: Callable[..., FleetGallery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device().close()
    assert UNITS[3].tobytes() in on_disk(tmp_path) and b"P3" in on_disk(tmp_path)
    monkeypatch.setattr(milvus_gallery, "_now", lambda: 1_000_000)  # the other device's clock stands in 1970
    with open_gallery(spec, MODEL, SIZE) as other:
        replaced = other.enroll("Cleo", ROWS[30])
    device().close()
    with open_gallery(spec, MODEL, SIZE) as other:
        other.delete("P3")
        other.replace(replaced, ROWS[31])
        other.enroll("Dan", ROWS[32])
    fetched: list[int] = []
    fetch = MilvusGallery.fetch

    def counted(self: MilvusGallery, ids: list[int]) -> Any:
        fetched.append(len(ids))
        return fetch(self, ids)

    monkeypatch.setattr(MilvusGallery, "fetch", counted)
    device().close()
    assert fetched == [2]  # the new one and the replaced one, of nine
    server.stop()
    with device() as copy:
        assert copy.source().copy_of == spec
        assert [p.name for p in copy.people()] == ["Cleo", "Dan", "P0", "P1", "P2", "P4", "P5", "P6", "P7"]
        assert [copy.search(ROWS[k], 1)[0].score > 0.999 for k in (30, 31, 32, 3)] == [False, True, True, False]
    bytes_left = on_disk(tmp_path)
    assert UNITS[3].tobytes() not in bytes_left and UNITS[30].tobytes() not in bytes_left and b"P3" not in bytes_left
    assert UNITS[31].tobytes() in bytes_left


def test_a_running_device_comes_back_by_itself_and_looks_for_changes(
    server: Any, spec: str, device: Callable[..., FleetGallery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_fleet, "RETRY_S", 0.05)
    monkeypatch.setattr(gallery_fleet, "SYNC_S", 0.05)
    with device() as gallery:
        server.stop()
        assert gallery.search(ROWS[0], 1)[0].name == "P0" and gallery.source().copy_of == spec
        server.start()
        with open_gallery(spec, MODEL, SIZE) as other:
            other.enroll("Eve", ROWS[33])
        until(lambda: gallery.search(ROWS[33], 1)[0].name == "Eve")
        until(lambda: bool(gallery.search(ROWS[0], 1)) and gallery.source().copy_of is None)
        with open_gallery(spec, MODEL, SIZE) as other:
            other.delete("P1")
        until(lambda: bool(gallery.search(ROWS[0], 1)) and "P1" not in {p.name for p in gallery._copy.people()})
        MilvusServer(parse_address(spec)).call("drop_collection")

        def refused() -> bool:
            try:
                gallery.search(ROWS[0], 1)
            except InputError as exc:
                return "gallery not found" in str(exc)
            return False

        until(refused)


def test_a_first_copy_that_was_cut_off_is_not_used_and_goes_on(
    server: Any, device: Callable[..., FleetGallery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_gallery, "AT_ONCE", 3)
    query, calls = MilvusGallery._query, itertools.count()

    def failing(self: MilvusGallery, condition: str, fields: list[str]) -> Any:
        if "template" in fields and next(calls) == 1:
            raise ServerError("cut off")
        return query(self, condition, fields)

    monkeypatch.setattr(MilvusGallery, "_query", failing)
    with pytest.raises(ServerError, match="cut off"):
        device()
    server.stop()
    with pytest.raises(ServerError, match="was never complete"):
        device()
    server.start()
    first = next(calls)
    device().close()
    assert next(calls) - first == 3  # five of eight were missing: two calls
    server.stop()
    with device() as copy:
        assert copy.count() == 8


def test_what_is_no_copy_of_this_gallery_is_refused_and_stays(
    server: Any, spec: str, device: Callable[..., FleetGallery], tmp_path: Path
) -> None:
    own = tmp_path / "own.db"
    with Gallery(own, MODEL, SIZE, create=True) as gallery:
        gallery.enroll("Ada", ROWS[0])
    device().close()
    copy = tmp_path / "copy.db"
    cases: list[tuple[Callable[[], object], type[EdgefaceError], str]] = [
        (lambda: open_gallery(spec, MODEL, SIZE, cache=own), InputError, "is a gallery of its own, no copy of"),
        (lambda: Gallery(copy), InputError, f"is a copy: give --gallery {spec} --cache"),
        (lambda: Gallery(copy, MODEL, SIZE, create=True), InputError, "is a copy"),
        (
            lambda: open_gallery(server.spec("else"), MODEL, SIZE, True, cache=copy),
            InputError,
            f"copy of {spec}, not",
        ),
        (lambda: device("b" * 64), ArtefactError, "was made with model aaaaaaaaaaaa"),
    ]
    for act, kind, words in cases:
        with pytest.raises(kind, match=words):
            act()
    server.stop()
    with pytest.raises(ServerError, match=r"and there is no copy .*none\.db yet"):
        open_gallery(spec, MODEL, SIZE, create=True, cache=tmp_path / "none.db")
    with pytest.raises(ArtefactError, match="was made with model aaaaaaaaaaaa"):
        device("b" * 64)
    assert not (tmp_path / "none.db").exists()
    with Gallery(own, MODEL, SIZE) as gallery:
        assert gallery.count() == 1


def test_a_copy_of_an_earlier_model_says_what_to_do(
    server: Any, spec: str, device: Callable[..., FleetGallery]
) -> None:
    device().close()
    MilvusServer(parse_address(spec)).call("drop_collection")
    open_gallery(spec, "c" * 64, SIZE, create=True).close()
    with pytest.raises(ArtefactError, match=r"the copy .* cannot be used .*: delete it, it is made anew"):
        device("c" * 64)


def test_closed_is_closed(device: Callable[..., FleetGallery]) -> None:
    gallery = device()
    gallery.close()
    gallery.close()
    with pytest.raises(InputError, match="is closed"):
        gallery.search(ROWS[0])
    with pytest.raises(InputError, match="is closed"):
        gallery.enroll("Ada", ROWS[0])


def test_two_processes_may_follow_into_one_copy_and_one_killed_half_way_leaves_nothing(
    server: Any, spec: str, device: Callable[..., FleetGallery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_gallery, "AT_ONCE", 5)
    with open_gallery(spec, MODEL, SIZE) as other:
        other.enroll_batch([f"Q{i}" for i in range(30)], ROWS[8:38])
    with ThreadPoolExecutor(4) as pool:  # each with connections of its own, as a process has
        for gallery in pool.map(lambda _: device(), range(4)):
            gallery.close()
    with device() as gallery:
        assert gallery._copy.count() == gallery.count() == 38
    enroll = Gallery.enroll_batch

    def killed(self: Gallery, *arguments: Any) -> list[int]:
        enroll(self, *arguments)
        raise KeyboardInterrupt

    with open_gallery(spec, MODEL, SIZE) as other:
        other.enroll_batch(["Zed", "Q1"], ROWS[38:40])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Gallery, "enroll_batch", killed)
        device()
    with device() as gallery:
        assert gallery._copy.count() == gallery.count() == 40
        assert gallery._copy.people() == gallery.people()
    with open_gallery(spec, MODEL, SIZE) as other:
        other.delete("Q1")
        other.enroll("Q1", ROWS[9])
    with device() as gallery:
        assert gallery._copy.people() == gallery.people() and gallery._copy.count() == 39
    assert UNITS[39].tobytes() not in on_disk(tmp_path)
