"""Everything that is done to a gallery, each step noted before it begins and after it was acknowledged.

`python -m faultkit.gallery_story FOLDER SEED STEPS [encrypted]` makes the gallery `FOLDER/g.db` and the notes
`FOLDER/notes`, one JSON line each. `Story` reads the notes, and knows what the gallery must hold and which of KEYS
opens it. A step that is refused is noted, and done again once the disk has been mended (record.c).
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeface_runtime import gallery as gallery_module
from edgeface_runtime import gallery_search
from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.gallery import Erasure, Gallery, GalleryKey, Rekeyed
from edgeface_runtime.gallery_sealed import SealedRows
from edgeface_runtime.gallery_templates import units

MODEL = "a" * 64
SIZE = 16
NOTES = "notes"
NAME = "g.db"
KINDS = ("enroll", "enroll", "enroll", "batch", "delete", "delete", "replace", "search", "reopen")
KEYS = tuple(GalleryKey(bytes([number]) * 32) for number in (1, 2, 3))
"""What an encrypted story goes round, with no key at all now and then."""

Mend = Callable[[str], None]
Content = dict[int, tuple[str, int]]
"""Template's id -> whose it is, and the seed of its vector."""


def drawn(seed: int) -> np.ndarray:
    """(SIZE,) float32 to enrol."""
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)


@cache
def vector(seed: int) -> np.ndarray:
    """(SIZE,) float32 of length 1, to the bit as the gallery keeps it."""
    return np.asarray(units([drawn(seed)], SIZE)[0])


def small_is_large() -> None:
    """Galleries of 8 templates on have an index, of 12 on a file of it."""
    gallery_module.INDEX_FROM, gallery_search.FILE_FROM, gallery_search.BEHIND = 8, 12, 6


@dataclass(frozen=True)
class Story:
    """What was acknowledged, and the one step that may have been under way."""

    done: tuple[dict[str, Any], ...]
    under_way: dict[str, Any] | None
    refused: tuple[str, ...] = ()
    """What the gallery said where it could not be written."""
    gone: frozenset[bytes] = frozenset()
    """What the steps that are done have erased: people's keys as they lay in the file, and what those encrypt."""
    going: frozenset[bytes] = frozenset()
    """What the step under way erases."""

    @classmethod
    def read(cls, notes: bytes) -> Story:
        """From the notes' content; what a kill cut off at the end is left out."""
        lines = [json.loads(line) for line in notes.split(b"\n")[:-1]]
        begun = [line["begin"] for line in lines if "begin" in line]
        gone = [map(bytes.fromhex, line.get("gone", ())) for line in lines if "begin" in line]
        done = sum("end" in line for line in lines)
        refused = tuple(line["refused"] for line in lines if "refused" in line)
        return cls(
            tuple(begun[:done]),
            begun[done] if len(begun) > done else None,
            refused,
            frozenset(itertools.chain(*gone[:done])),
            frozenset(itertools.chain(*gone[done:])),
        )

    def allowed(self) -> list[Content]:
        """What the gallery may hold: with and without the step under way."""
        content: Content = {}
        for step in self.done:
            content = after(content, step)
        return [content] if self.under_way is None else [content, after(content, self.under_way)]

    def keys(self) -> list[int | None]:
        """By which of KEYS it may be encrypted, None is not at all: without and with the step under way."""
        steps = self.done if self.under_way is None else (*self.done, self.under_way)
        keys: list[int | None] = [None, *(step["key"] for step in steps if "key" in step)]
        return keys[-2:] if self.under_way is not None and self.under_way["kind"] == "rekey" else keys[-1:]

    def erased(self) -> set[int]:
        """Seeds of vectors whose erasure was acknowledged; of an encrypted gallery, of all."""
        content: Content = {}
        gone, seen = set(), set()
        for step in self.done:
            before, content = content, after(content, step)
            gone |= {seed for _, seed in before.values()} - {seed for _, seed in content.values()}
            seen |= {seed for _, seed in content.values()}
        return gone if None in self.keys() else gone | seen


def after(content: Content, step: dict[str, Any]) -> Content:
    """The content after a step."""
    content = dict(content)
    if step["kind"] in ("enroll", "batch"):
        content.update(
            {
                step["id"] + k: (name, seed)
                for k, (name, seed) in enumerate(zip(step["names"], step["seeds"], strict=True))
            }
        )
    elif step["kind"] == "delete":
        content = {key: entry for key, entry in content.items() if entry[0] != step["name"]}
    elif step["kind"] == "replace":
        content[step["id"]] = (content[step["id"]][0], step["seed"])
    return content


def steps(seed: int, count: int, encrypted: bool = False) -> list[dict[str, Any]]:
    """A story's steps: the gallery is made, filled, and then lived with."""
    draw = random.Random(seed)
    key: int | None = 0 if encrypted else None
    plan: list[dict[str, Any]] = [{"kind": "make", "key": 0} if encrypted else {"kind": "make"}]
    content: Content = {}
    new, vectors = 1, 1000 * seed
    kinds = (*KINDS, "rekey", "rekey") if encrypted else KINDS
    for number in range(count):
        kind = draw.choice(kinds) if len(content) > 10 else "batch" if number % 3 == 1 else "enroll"
        step: dict[str, Any] = {"kind": kind}
        if kind in ("enroll", "batch"):
            many = 1 if kind == "enroll" else draw.randint(2, 9)
            step |= {"id": new, "names": [f"p{number}" if k % 2 else f"q{number}" for k in range(many)]}
            step["seeds"] = [vectors + k for k in range(many)]
            new, vectors = new + many, vectors + many
        elif kind == "delete":
            step["name"] = draw.choice(sorted(content.values()))[0]
        elif kind == "replace":
            step |= {"id": draw.choice(sorted(content)), "seed": vectors}
            vectors += 1
        elif kind == "rekey":
            key = step["key"] = draw.choice([other for other in (0, 1, 2, None) if other != key])
        elif kind == "reopen" and encrypted:
            step["key"] = key
        content = after(content, step)
        plan.append(step)
    return plan


def do(gallery: Gallery | None, step: dict[str, Any], path: Path, mend: Mend) -> Gallery:
    """One step on the gallery, which is opened where it is not; where an erasure is pending, the disk is mended."""
    kind = step["kind"]
    if kind in ("make", "reopen") and gallery is not None:
        gallery.close()
        gallery = None
    if gallery is None:
        gallery = Gallery(path, MODEL, SIZE, create=True, key=key_of(step.get("key")))
    if kind == "enroll":
        assert gallery.enroll(step["names"][0], drawn(step["seeds"][0])) == step["id"]
    elif kind == "batch":
        assert gallery.enroll_batch(step["names"], [drawn(seed) for seed in step["seeds"]])[0] == step["id"]
    elif kind == "delete":
        _erased(gallery, gallery.delete(step["name"]), mend)
    elif kind == "replace":
        _erased(gallery, gallery.replace(step["id"], drawn(step["seed"])), mend)
    elif kind == "rekey":
        _erased(gallery, gallery.rekey(key_of(step["key"])), mend)
    elif kind == "search":
        gallery.search(vector(1))
    return gallery


def key_of(number: int | None) -> GalleryKey | None:
    """The key of that number."""
    return None if number is None else KEYS[number]


def secrets_of(gallery: Gallery | None, step: dict[str, Any]) -> list[bytes]:
    """What a step has to take off an encrypted gallery's disk, as it lies there."""
    if gallery is None or not isinstance(gallery._rows, SealedRows):
        return []
    kind, connection = step["kind"], gallery._open()
    if kind == "rekey":
        found = connection.execute("SELECT key FROM people").fetchall()
    elif kind == "delete":
        lookup = (gallery._rows.cipher.lookup(step["name"]),)
        found = connection.execute("SELECT key FROM people WHERE lookup = ?", lookup).fetchall()
        found += connection.execute("SELECT name FROM people WHERE lookup = ?", lookup).fetchall()
        found += connection.execute(
            "SELECT template FROM templates WHERE name = (SELECT person FROM people WHERE lookup = ?)", lookup
        ).fetchall()
    elif kind == "replace":
        found = connection.execute("SELECT template FROM templates WHERE id = ?", (step["id"],)).fetchall()
    else:
        return []
    assert found
    return [row[0] for row in found]


def _erased(gallery: Gallery, erasure: Erasure | Rekeyed, mend: Mend) -> None:
    assert isinstance(erasure, Rekeyed) or erasure.removed
    if erasure.pending is not None:
        mend(erasure.pending)
        assert gallery.finish_erasure() is None


def main(folder: Path, seed: int, count: int, encrypted: bool) -> None:
    """Tell a story."""
    small_is_large()
    notes = os.open(folder / NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def mend(reason: str) -> None:
        os.write(notes, json.dumps({"refused": reason}).encode() + b"\n")
        ctypes.CDLL(os.environ["LD_PRELOAD"]).faultkit_mend()

    gallery = None
    for step in steps(seed, count, encrypted):
        begin = {"begin": step, "gone": [secret.hex() for secret in secrets_of(gallery, step)]}
        os.write(notes, json.dumps(begin).encode() + b"\n")
        try:
            gallery = do(gallery, step, folder / NAME, mend)
        except EdgefaceError as exc:
            mend(str(exc))
            gallery = do(gallery, step, folder / NAME, mend)
        os.write(notes, b'{"end": 1}\n')
    if gallery is not None:
        gallery.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["encrypted"])
