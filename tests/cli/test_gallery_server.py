"""The commands with a gallery on a server, with and without a copy on the device."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeface_runtime.gallery_open import open_gallery

Cli = Callable[..., Any]


def test_a_fleets_gallery_from_enrolment_to_deletion(cli: Cli, chain: Any, lite_server: Any, tmp_path: Path) -> None:
    gallery = lite_server.spec("cli").replace("127", "ada:secret@127")
    shown = lite_server.spec("cli")
    copy = tmp_path / "copy.db"
    photo = chain.photo
    said = cli("enroll", chain.bundle, "Ada", photo, "--gallery", gallery, "--cache", copy)
    assert (said.code, said.err) == (0, f"wrote {shown}\n") and "secret" not in said.out
    asked = ("identify", chain.bundle, photo, "--gallery", gallery, "--cache", copy, "--threshold", ".9", "--json")
    fresh = cli(*asked, "--quiet")
    assert fresh.code == 0 and fresh.err == ""
    (result,) = fresh.data
    assert result["faces"][0]["match"] == "Ada"
    assert result["gallery"] == {"source": shown, "copy_of": None, "stale_since": None, "reason": None}
    assert cli("gallery", "list", "--gallery", gallery, "--json").data == [{"name": "Ada", "templates": 1}]

    lite_server.stop()
    stale = cli(*asked, "--quiet")
    assert stale.code == 0 and stale.data[0]["faces"][0]["match"] == "Ada"
    facts = stale.data[0]["gallery"]
    assert (facts["source"], facts["copy_of"]) == (str(copy), shown) and facts["stale_since"]
    assert stale.err == f"{facts['reason']}; answered by the copy {copy}, stale since {facts['stale_since']}\n"
    listed = cli("gallery", "list", "--gallery", gallery, "--cache", copy)
    assert listed.code == 0 and "Ada" in listed.out and "answered by the copy" in listed.err
    (tmp_path / "street").mkdir()
    shutil.copy(photo, tmp_path / "street")
    stream = ("stream", chain.bundle, tmp_path / "street", "--threshold", ".9", "--json", "--quiet")
    ran = cli(*stream, "--gallery", gallery, "--cache", copy)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 0 and ran.err.startswith(facts["reason"])
    assert [line["kind"] for line in lines if line["type"] == "event"][:2] == ["stale", "came"]
    for command in (
        ("enroll", chain.bundle, "Bob", photo, "--gallery", gallery, "--cache", copy),
        ("enroll", chain.bundle, "Bob", photo, "--gallery", gallery),
        ("identify", chain.bundle, photo, "--gallery", gallery, "--threshold", ".9"),
        ("gallery", "delete", "Ada", "--gallery", gallery, "--cache", copy),
        ("gallery", "list", "--gallery", gallery),
        (*stream, "--gallery", gallery),
    ):
        refused = cli(*command)
        assert (refused.code, refused.out, refused.err.count("\n")) == (3, "", 1)
        assert refused.err.startswith(f"edgeface: the server of gallery {shown} cannot be reached (no connection)")

    lite_server.start()
    deleted = cli("gallery", "delete", "Ada", "--gallery", gallery, "--cache", copy, "--json")
    assert deleted.code == 1 and deleted.data["removed"] == 1 and "compacts" in deleted.data["pending"]
    with open_gallery(gallery, cache=copy) as left:
        assert left.count() == 0
    assert b"Ada" not in b"".join(path.read_bytes() for path in tmp_path.glob("copy*"))
    assert cli(*asked).code == 1
