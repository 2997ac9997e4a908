"""A record file in place and as identity folders; other sets as identity folders."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgeface.cli.main import app
from edgeface.data import import_set as module
from edgeface.data.import_set import import_set, recrop
from edgeface.data.readers import open_reader
from edgeface_runtime.align import TEMPLATE, align
from edgeface_runtime.errors import InputError
from edgeface_runtime.image import read_image

MAGIC = b"\x0a\x23\xd7\xce"
INSIGHTFACE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Its 112x112 template, as published."""


def jpeg(shade: int, size: int = 112) -> bytes:
    image = np.full((size, size, 3), shade, np.uint8)
    image[:, : size // 2] //= 2
    return cv2.imencode(".jpg", image)[1].tobytes()


def record(labels: list[float], number: int, data: bytes = b"") -> bytes:
    flag = 0 if len(labels) == 1 else len(labels)
    head = struct.pack("<IfQQ", flag, 0 if flag else labels[0], number, 0)
    whole = head + (struct.pack(f"<{flag}f", *labels) if flag else b"") + data
    return MAGIC + struct.pack("<I", len(whole)) + whole + bytes(-len(whole) % 4)


@pytest.fixture
def casia(tmp_path: Path) -> Path:
    """Seven pictures of three people, as insightface packs them; records 8 to 10 are the people."""
    folder = tmp_path / "faces_webface_112x112"
    folder.mkdir()
    pictures = [record([label], i + 1, jpeg(40 + 20 * i)) for i, label in enumerate((0, 0, 1, 1, 1, 2, 2))]
    people = [record([1, 3], 8), record([3, 6], 9), record([6, 8], 10)]
    records = [record([8, 11], 0), *pictures, *people]
    content, lines = b"", ""
    for key, entry in enumerate(records):
        lines += f"{key}\t{len(content)}\n"
        content += entry
    (folder / "train.rec").write_bytes(content)
    (folder / "train.idx").write_text(lines)
    (folder / "property").write_text("3,112,112\n")
    return folder


def damage(folder: Path, key: int, where: int, data: bytes) -> None:
    places = dict(map(int, line.split()) for line in (folder / "train.idx").read_text().splitlines())
    content = bytearray((folder / "train.rec").read_bytes())
    content[places[key] + where : places[key] + where + len(data)] = data
    (folder / "train.rec").write_bytes(content)


def test_records_in_place(casia: Path) -> None:
    with open_reader(casia) as faces:
        assert faces.format == "casia-rec" and faces.crop_size == (112, 112) and not faces.skipped and not faces.notes
        assert faces.identities == ("000000", "000001", "000002")
        assert [sample.name for sample in faces.samples][:2] == ["00000001.jpg", "00000002.jpg"]
        assert {(sample.role, sample.condition) for sample in faces.samples} == {("train", "clean")}
        assert abs(int(faces.image(faces.samples[3])[50, 100, 0]) - 100) <= 2
        with pytest.raises(InputError, match="edgeface data import"):
            faces.as_folder()
    with open_reader(casia / "train.rec") as again:
        assert [sample.key for sample in again.samples] == [1, 2, 3, 4, 5, 6, 7]


def test_damaged_records_are_listed(casia: Path) -> None:
    damage(casia, 2, 0, b"junk")
    damage(casia, 4, 12, struct.pack("<f", -1))
    damage(casia, 5, 32, b"GIF89a")
    lines = (casia / "train.idx").read_text().splitlines()
    (casia / "train.idx").write_text("\n".join([*lines[:6], *lines[7:]]) + "\n")
    with open_reader(casia) as faces:
        assert [sample.key for sample in faces.samples] == [1, 3, 7]
        reasons = {entry.name: entry.reason for entry in faces.skipped}
    assert reasons == {
        "record 2": "wrong magic number 0x6b6e756a",
        "record 4": "label -1.0 is no identity",
        "record 5": "holds neither a JPEG nor a PNG picture",
        "record 6": "promised by the header, not in the index",
    }


def test_a_truncated_record_file(casia: Path) -> None:
    content = (casia / "train.rec").read_bytes()
    (casia / "train.rec").write_bytes(content[: len(content) // 2])
    with open_reader(casia) as faces:
        kept = len(faces.samples)
        assert 2 <= kept < 7 and len(faces.skipped) == 7 - kept + 3
        assert all("truncated" in entry.reason for entry in faces.skipped)
        assert any("property promises 3 people" in note for note in faces.notes)


def test_a_missing_index_and_property(casia: Path) -> None:
    (casia / "train.idx").unlink()
    (casia / "property").unlink()
    with open_reader(casia) as faces:
        assert len(faces.samples) == 7 and faces.crop_size == (112, 112)
        assert faces.notes == ("no usable index: records are numbered in the file's order",)


def test_an_index_of_another_file(casia: Path) -> None:
    (casia / "train.idx").write_text("0\t4\n1\t12\n2\t20\n")
    with pytest.raises(InputError, match=r"no usable picture, first record 0: wrong magic .* remove it"):
        open_reader(casia)


def test_our_part_of_an_insightface_crop() -> None:
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 255, (250, 250, 3), dtype=np.uint8), (0, 0), 3)
    points = TEMPLATE * 1.3 + (60, 40)
    angle = cv2.estimateAffinePartial2D(points, INSIGHTFACE)[0]
    theirs = cv2.warpAffine(photo, angle, (112, 112), flags=cv2.INTER_LINEAR)
    difference = np.abs(recrop(np.asarray(theirs, np.uint8)).astype(int) - align(photo, points))
    assert recrop(np.asarray(theirs, np.uint8)).shape == (112, 96, 3)
    assert difference.mean() < 0.5 and difference.max() <= 3


def test_records_become_identity_folders(casia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(casia, 3, 200, b"\xff\xd9" + bytes(300))
    target, steps = tmp_path / "faces", []
    written, original = [], module.write_bytes

    def dies_at_the_fourth(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 4:
            raise KeyboardInterrupt
        original(path, data)

    with open_reader(casia) as faces:
        monkeypatch.setattr(module, "write_bytes", dies_at_the_fourth)
        monkeypatch.setattr(module, "THREADS", 1)
        with pytest.raises(KeyboardInterrupt):
            import_set(faces, target)
        monkeypatch.setattr(module, "write_bytes", original)
        assert not (target / "import.json").exists()
        report = import_set(faces, target, progress=lambda done, total: steps.append((done, total)))
        assert (report.written, report.people, report.aligned) == (6, 3, True) and report.reused == 4
        assert steps[-1] == (7, 7)
        assert [entry.name for entry in report.skipped] == ["train.rec#3"]
        assert import_set(faces, target).reused == 7
    crops = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.jpg"))
    assert crops[:2] == ["000000/00000001.jpg", "000000/00000002.jpg"] and len(crops) == 6
    crop = read_image(target / crops[0])
    assert crop.shape == (112, 96, 3)
    assert abs(int(crop[50, 44, 0]) - 20) <= 4 and abs(int(crop[50, 52, 0]) - 40) <= 4  # 56 - 8 is the edge
    manifest = json.loads((target / "import.json").read_text())
    assert len(manifest["pictures"]) == 7 and manifest["layout"] == "casia-rec"
    assert manifest["pictures"][0]["person"] == "000000" and manifest["pictures"][0]["role"] == "train"
    assert sorted(path.name for path in target.iterdir()) == ["000000", "000001", "000002", "import.json"]
    with open_reader(casia) as faces, pytest.raises(InputError, match="other settings"):
        import_set(faces, target, "none")


def test_pictures_of_another_size_are_listed(tmp_path: Path) -> None:
    for name, size in (("ann/1.jpg", 112), ("ann/2.jpg", 250), ("bo/1.jpg", 112)):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(jpeg(90, size))
    faces = open_reader(tmp_path / "set")
    assert faces.crop_size is None
    report = import_set(faces, tmp_path / "faces", "insightface")
    assert (report.written, report.people) == (2, 2)
    assert [(entry.name, entry.reason) for entry in report.skipped] == [
        ("ann/2.jpg", "is 250x250, the crops of this set are 112x112")
    ]
    photographs = import_set(faces, tmp_path / "photographs")
    assert photographs.written == 3 and not photographs.aligned
    assert (tmp_path / "photographs" / "ann" / "2.jpg").read_bytes() == jpeg(90, 250)
    with pytest.raises(InputError, match="--template"):
        import_set(faces, tmp_path / "x", "round")
    with pytest.raises(InputError, match="lies in"):
        import_set(faces, tmp_path / "set" / "x")


def test_roles_become_folders_and_the_command_tells_it(tmp_path: Path) -> None:
    source, target = tmp_path / "rmfd", tmp_path / "faces"
    for name in ("AFDB_masked_face_dataset/ann/1.jpg", "AFDB_face_dataset/ann/1.jpg", "AFDB_face_dataset/bo/1.jpg"):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_bytes(jpeg(80, 60))
    (source / "AFDB_face_dataset" / "bo" / "cut.jpg").write_bytes(jpeg(80, 60)[:200])
    runner = CliRunner()
    done = runner.invoke(app, ["data", "import", str(source), str(target)])
    assert done.exit_code == 0, done.output
    assert "3 pictures (2 gallery, 1 probe) of 2 people, 1 skipped" in done.output
    assert "skipped AFDB_face_dataset/bo/cut.jpg" in done.output and "edgeface data align" in done.output
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*.jpg")) == [
        "gallery/ann/1.jpg",
        "gallery/bo/1.jpg",
        "probe/ann/1.jpg",
    ]
    told = json.loads(runner.invoke(app, ["data", "import", str(source), str(target), "--json", "--quiet"]).stdout)
    assert (told["written"], told["reused"], told["format"], len(told["skipped"])) == (3, 4, "rmfd", 1)


def test_a_failed_import_does_not_bind_the_next(tmp_path: Path) -> None:
    source, target = tmp_path / "set", tmp_path / "faces"
    for person in ("ann", "bo"):
        (source / person).mkdir(parents=True)
        (source / person / "1.jpg").write_bytes(jpeg(90, 60))
    runner = CliRunner()
    command = ["data", "import", str(source), str(target)]
    failed = runner.invoke(app, [*command, "--template", "edgeface"])
    assert isinstance(failed.exception, InputError) and "none of 2 pictures" in str(failed.exception)
    assert "wrote" not in failed.output and not list(tmp_path.rglob("import.*"))
    assert runner.invoke(app, [*command, "--template", "none"]).exit_code == 0
    again = runner.invoke(app, [*command, "--template", "edgeface"])
    assert "other settings" in str(again.exception), "what pictures were written under stays binding"
    assert len(json.loads((target / "import.json").read_text())["pictures"]) == 2


def test_an_unknown_template_is_said_before_the_set_is_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["data", "import", str(tmp_path / "none"), str(tmp_path / "x"), "--template", "foo"]
    )
    assert "--template must be one of edgeface, insightface, none" in str(done.exception)
