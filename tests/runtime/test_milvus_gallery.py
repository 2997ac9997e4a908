"""A gallery on a server: the same answers as the local one, side by side, over the wire to Milvus Lite."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime import milvus_server
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError, MissingExtraError, ServerError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.gallery_open import open_gallery
from edgeface_runtime.milvus_address import MilvusAddress, parse_address
from edgeface_runtime.milvus_gallery import MilvusGallery
from edgeface_runtime.milvus_server import MilvusServer

pytest.importorskip("pymilvus", reason="needs the client of Milvus: pip install 'edgeface[milvus]'")

MODEL, SIZE = "a" * 64, 64
NAMES = itertools.count()


@pytest.fixture
def spec(lite_server: Any) -> str:
    """A gallery that is not there yet."""
    return str(lite_server.spec(f"g{next(NAMES)}"))


def people(seed: int, count: int = 60, each: int = 4) -> tuple[list[str], np.ndarray]:
    """Templates that lie close together person by person, so that one person fills the first places of a search."""
    rng = np.random.default_rng(seed)
    names = [f"P{i // each:03}" for i in range(count * each)]
    centres = np.repeat(rng.standard_normal((count, SIZE)), each, axis=0)
    return names, (centres + 0.2 * rng.standard_normal((count * each, SIZE))).astype(np.float32)


def both(spec: str, tmp_path: Path) -> tuple[GalleryLike, GalleryLike]:
    return open_gallery(spec, MODEL, SIZE, create=True), Gallery(tmp_path / "g.db", MODEL, SIZE, create=True)


def test_it_answers_as_the_local_gallery_does(spec: str, tmp_path: Path) -> None:
    remote, local = both(spec, tmp_path)
    names, rows = people(0)
    with remote, local:
        for gallery in (remote, local):
            ids = gallery.enroll_batch(names, rows)
            assert len(ids) == len(names) and ids == sorted(set(ids))
            gallery.enroll('Zoë "Z" O\'Hara \\', rows[0] + rows[9], "z.jpg")
        assert remote.people() == local.people()
        assert remote.count() == local.count() == 241
        for probe in np.random.default_rng(1).standard_normal((5, SIZE)):
            for top in (1, 5, 60, 100):
                found, known = remote.search(probe, top), local.search(probe, top)
                assert [c.name for c in found] == [c.name for c in known]
                assert np.allclose([c.score for c in found], [c.score for c in known], rtol=0, atol=1e-6)
        assert remote.search(rows[5], 1)[0].name == names[5]
        left, right = remote.templates(), local.templates()
        assert left[0] == right[0]
        order = [np.lexsort(matrix.T) for matrix in (left[1], right[1])]  # of one person in any order
        assert np.array_equal(left[1][order[0]], right[1][order[1]])
        assert remote.describe() | {"multiplied_by": ""} == {
            "templates": 241,
            "multiplied_by": "",
            "index": "FLAT",
            "note": None,
        }
        assert remote.source().to_dict() == {"source": spec, "copy_of": None, "stale_since": None, "reason": None}


def test_a_change_is_seen_by_the_next_search_of_another_client(spec: str, tmp_path: Path) -> None:
    remote, local = both(spec, tmp_path)
    names, rows = people(2, 6, 2)
    with remote, local, open_gallery(spec, MODEL, SIZE) as other:
        ids = {id(gallery): gallery.enroll_batch(names, rows) for gallery in (remote, local)}
        assert other.search(rows[0], 1)[0].score == pytest.approx(1.0, abs=1e-6)
        for gallery in (remote, local):
            erasure = gallery.replace(ids[id(gallery)][0], rows[4], "new.jpg")
            assert (erasure.name, erasure.removed) == ("P000", 1)
        assert other.search(rows[4], 2) == remote.search(rows[4], 2)
        assert {c.name for c in other.search(rows[4], 2)} == {c.name for c in local.search(rows[4], 2)}
        assert other.search(rows[0], 1)[0].score < 0.99
        gone = other.delete(" P002 ")
        assert (gone.name, gone.removed, gone.erased) == ("P002", 2, False) and "compacts" in str(gone.pending)
        assert "P002" not in {c.name for c in remote.search(rows[4], 10)}
        assert remote.count() == 10 and [p.name for p in remote.people()] == [f"P{i:03}" for i in (0, 1, 3, 4, 5)]


def test_names_are_data_never_a_filter(spec: str) -> None:
    nasty = ['" or name != "', "a\\", "{x}", "%", "日本", "'; drop"]
    with open_gallery(spec, MODEL, SIZE, create=True) as gallery:
        gallery.enroll_batch(nasty, np.eye(SIZE)[: len(nasty)])
        for number, name in enumerate(nasty):
            assert gallery.search(np.eye(SIZE)[number], 1)[0].name == name
            assert gallery.delete(name).removed == 1
            assert gallery.count() == len(nasty) - number - 1


def test_bad_input_is_refused_as_by_the_local_gallery(spec: str, tmp_path: Path) -> None:
    remote, local = both(spec, tmp_path)
    row = np.ones(SIZE)
    with remote, local:
        for act in (
            lambda g: g.enroll("", row),
            lambda g: g.enroll("x" * 201, row),
            lambda g: g.enroll("a\nb", row),
            lambda g: g.enroll("Ada", np.zeros(SIZE)),
            lambda g: g.enroll("Ada", np.ones(3)),
            lambda g: g.enroll_batch(["Ada", "Bob"], [row, np.full(SIZE, np.nan)]),
            lambda g: g.enroll_many("Ada", [], []),
            lambda g: g.replace(12345, row),
            lambda g: g.delete("Nobody"),
            lambda g: g.search(row, 0),
        ):
            said = []
            for gallery in (remote, local):
                with pytest.raises(InputError) as caught:
                    act(gallery)
                said.append(str(caught.value).replace(gallery.place, "G"))
            assert said[0] == said[1]
        assert remote.count() == local.count() == 0


def test_a_gallery_is_bound_to_its_model(lite_server: Any, spec: str) -> None:
    with pytest.raises(InputError, match=r"gallery not found: milvus://127.*: make one with edgeface enroll"):
        open_gallery(spec, MODEL, SIZE)
    open_gallery(spec, MODEL, SIZE, create=True).close()
    with open_gallery(spec) as any_model:
        assert (any_model.model_id, any_model.embedding_size) == (MODEL, SIZE)
    with pytest.raises(ArtefactError, match="was made with model aaaaaaaaaaaa, this bundle is bbbbbbbbbbbb"):
        open_gallery(spec, "b" * 64, SIZE)
    with pytest.raises(ArtefactError, match="holds embeddings of 64 numbers, not 128"):
        open_gallery(spec, MODEL, 128, create=True)
    with pytest.raises(ArtefactError, match="keeps no features for masking by a dictionary"):
        open_gallery(spec, MODEL, SIZE, features=(2, 3, 4))
    foreign = lite_server.spec("foreign")
    MilvusServer(parse_address(foreign)).call("create_collection", dimension=SIZE)
    with pytest.raises(ArtefactError, match="it is a collection of something else"):
        open_gallery(foreign, MODEL, SIZE, create=True)
    closed = open_gallery(spec)
    closed.close()
    closed.close()
    with pytest.raises(InputError, match="is closed"):
        closed.count()


def test_a_batch_that_fails_half_way_is_taken_back(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.milvus_gallery.AT_ONCE", 5)
    names, rows = people(3, 6, 2)
    with open_gallery(spec, MODEL, SIZE, create=True) as gallery:
        gallery.enroll("Ada", rows[0])
        call, calls = MilvusServer.call, itertools.count()

        def failing(self: MilvusServer, method: str, **arguments: Any) -> Any:
            if method == "upsert" and next(calls) == 2:
                raise ServerError("away")
            return call(self, method, **arguments)

        monkeypatch.setattr(MilvusServer, "call", failing)
        with pytest.raises(ServerError, match=r"^away$"):
            gallery.enroll_batch(names, rows)
        assert [person.name for person in gallery.people()] == ["Ada"]


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_is_not_there_is_one_line_in_time(
    deaf: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(milvus_server, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    for port in (closed, deaf):
        began = time.monotonic()
        with pytest.raises(ServerError) as caught:
            open_gallery(f"milvus://ada:secret@127.0.0.1:{port}/people", MODEL, SIZE)
        assert time.monotonic() - began < 3
        assert caught.value.exit_code == 3
        assert str(caught.value) == (
            f"the server of gallery milvus://127.0.0.1:{port}/people cannot be reached (no connection): is it "
            "running, and the address right?"
        )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "auth check failure, please check ada:secret is right",
            InputError,
            "refuses access .* EDGEFACE_MILVUS_TOKEN",
        ),
        ("SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", InputError, "not trusted .* EDGEFACE_MILVUS_CA"),
        ("collection secret is broken", ServerError, r"reports an error \(collection \*\*\* is broken\)"),
    ],
)
def test_what_the_server_says_becomes_one_line_without_the_token(
    said: str, kind: type[EdgefaceError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Client:
        def __init__(self, **settings: Any) -> None:
            given.update(settings)

        def close(self) -> None:
            pass

        def query(self, **arguments: Any) -> None:
            raise RuntimeError(said)

    monkeypatch.setattr("pymilvus.MilvusClient", Client)
    with pytest.raises(kind, match=words) as caught:
        MilvusServer(MilvusAddress("h", "people", 1, "db", True, "ada:secret", Path("ca.pem"))).call("query")
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None
    assert given["uri"] == "https://h:1" and given["token"] == "ada:secret"
    assert given["server_pem_path"] == "ca.pem" and given["db_name"] == "db"


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeface\[milvus\]'"):
        open_gallery("milvus://h/people", MODEL, SIZE)


def test_galleries_are_closed_when_opening_fails(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_gallery(spec, MODEL, SIZE, create=True).close()
    closed: list[object] = []
    monkeypatch.setattr(MilvusGallery, "close", lambda self: closed.append(self))
    with pytest.raises(ArtefactError):
        open_gallery(spec, "b" * 64, SIZE)
    assert len(closed) == 1


def test_an_open_gallery_outlives_its_server(lite_server: Any, spec: str) -> None:
    with open_gallery(spec, MODEL, SIZE, create=True) as gallery:
        gallery.enroll("Ada", np.ones(SIZE))
        lite_server.stop()
        for act in (gallery.count, gallery.people, lambda: gallery.search(np.ones(SIZE))):
            with pytest.raises(ServerError, match="cannot be reached"):
                act()
        lite_server.start()
        assert gallery.search(np.ones(SIZE), 1)[0].name == "Ada" and gallery.count() == 1


def test_every_question_is_asked_of_the_newest_state(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus Lite always is; a server proper answers from an older one unless it is told."""
    asked: dict[str, set[object]] = {}
    call = MilvusServer.call

    def noted(self: MilvusServer, method: str, **arguments: Any) -> Any:
        if method in ("search", "query", "query_iterator"):
            asked.setdefault(method, set()).add(arguments.get("consistency_level"))
        return call(self, method, **arguments)

    monkeypatch.setattr(MilvusServer, "call", noted)
    with open_gallery(spec, MODEL, SIZE, create=True) as gallery:
        gallery.enroll("Ada", np.ones(SIZE))
        gallery.search(np.ones(SIZE)), gallery.people(), gallery.templates(), gallery.count(), gallery.delete("Ada")
    assert asked == {"search": {"Strong"}, "query": {"Strong"}, "query_iterator": {"Strong"}}
