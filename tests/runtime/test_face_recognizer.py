"""The object for programs: the page about it is run and type-checked, and threads get what one alone gets."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime import FaceRecognizer, Recognizer
from edgeface_runtime.errors import ArtefactError, ImageError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.results import FaceResult

MakeBundle = Callable[..., Path]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def place(tiny_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the page speaks of."""
    pictures = pytest.importorskip("skimage.data", reason="needs a photograph: pip install 'edgeface[demo]'")
    tiny_bundle("masked.bundle")
    photo = np.ascontiguousarray(pictures.astronaut()[:300, 100:400, ::-1])
    darker = cv2.convertScaleAbs(photo, alpha=0.9, beta=5)
    for name, image in (("ada.jpg", photo), ("street.jpg", darker), ("empty.jpg", np.full_like(photo, 128))):
        assert cv2.imwrite(str(tmp_path / name), image)
    writer = cv2.VideoWriter(str(tmp_path / "street.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, photo.shape[1::-1])
    for _ in range(2):
        writer.write(darker)
    writer.release()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    names: dict[str, object] = {}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), names)
        said.append(capsys.readouterr().out.splitlines())
    assert len(said) == 6
    assert re.fullmatch(r"Ada 0\.9\d+ \[[\d. -]+\]", said[0][0]) and len(said[0]) == 1
    assert said[1] == ["[('Ada', 1)]", "True"]
    cosine, score, match, source = said[2][0].split(" ", 3)
    assert float(cosine) == pytest.approx(float(score), abs=1e-5) and float(score) > 0.9
    assert (match, source) == ("True", "bundle, false match rate 1e-3")
    assert said[3] == ["1", "1"]
    assert said[4] == ["unreadable picture not found: no-such-picture.jpg CPUExecutionProvider"]
    assert said[5][0].startswith("no face found in empty.jpg")


def test_the_page_is_typed(tmp_path: Path) -> None:
    """By mypy, strict, as a user's program would be."""
    pytest.importorskip("mypy", reason="needs mypy: pip install 'edgeface[dev]'")
    root = PAGE.parents[1]
    assert (root / "runtime" / "edgeface_runtime" / "py.typed").is_file()
    program = tmp_path / "program.py"
    lines = [
        *blocks(),
        "reveal_type(first.embedding)",
        "reveal_type(first.name)",
        "reveal_type(same.match)",
        "first.nme",
    ]
    program.write_text("\n".join(lines), encoding="utf-8")
    options = ("--cache-dir", str(root / ".mypy_cache"), "--config-file", str(root / "pyproject.toml"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *options, str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    said = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    assert 'note: Revealed type is "numpy.ndarray[tuple[Any, ...], numpy.dtype[numpy.floating[' in said[0]
    assert said[1:3] == ['note: Revealed type is "str | None"', 'note: Revealed type is "bool"']
    assert said[3:] == ['error: "FaceResult" has no attribute "nme"; maybe "name"?  [attr-defined]']


def alike(left: list[FaceResult], right: list[FaceResult]) -> bool:
    return len(left) == len(right) and all(
        a.name == b.name
        and a.candidates == b.candidates
        and np.array_equal(a.box, b.box)
        and np.array_equal(a.landmarks, b.landmarks)
        and np.array_equal(a.embedding, b.embedding)
        for a, b in zip(left, right, strict=True)
    )


def test_many_threads_get_what_one_gets(place: Path) -> None:
    pictures = [cv2.imread(name) for name in ("ada.jpg", "street.jpg", "empty.jpg")]
    pictures.append(np.ascontiguousarray(pictures[0][:, ::-1]))
    with FaceRecognizer("masked.bundle", "people.db", create=True) as alone:
        alone.enroll("Ada", "ada.jpg")
        alone.enroll("Eve", pictures[3])
        wanted = [alone.faces(picture) for picture in pictures]
        same = alone.verify("ada.jpg", "street.jpg").score
    assert [[face.name for face in faces] for faces in wanted] == [["Ada"], ["Ada"], [], ["Eve"]]
    with FaceRecognizer("masked.bundle", "people.db") as shared, ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(shared.faces, pictures[k % 4]) for k in range(48)]
        checks = [pool.submit(shared.verify, "ada.jpg", "street.jpg") for _ in range(4)]
        added = [pool.submit(shared.enroll, f"P{k}", "ada.jpg") for k in range(4)]
        assert all(job.result() for job in added)
        # Whoever is enrolled meanwhile is a candidate as good as Ada; embeddings and boxes must not differ.
        for k, job in enumerate(jobs):
            for face, known in zip(job.result(), wanted[k % 4], strict=True):
                assert np.array_equal(face.embedding, known.embedding) and np.array_equal(face.box, known.box)
        assert {check.result().score for check in checks} == {same}
        shared.gallery.delete("P0")
        assert shared.gallery.count() == 5
        for k in range(1, 4):
            shared.gallery.delete(f"P{k}")
        assert all(alike(faces, wanted[k]) for k, faces in enumerate(pool.map(shared.faces, pictures)))


def test_a_path_bytes_and_pixels_are_the_same_picture(place: Path) -> None:
    with FaceRecognizer("masked.bundle") as finder:
        path, data = Path("ada.jpg"), Path("ada.jpg").read_bytes()
        wanted = finder.faces("ada.jpg")
        (face,) = wanted
        assert face.embedding.dtype == np.float32 and float(np.linalg.norm(face.embedding)) == pytest.approx(
            1, abs=1e-6
        )
        assert (face.name, face.similarity, face.matched) == (None, None, False)
        assert all(alike(finder.faces(picture), wanted) for picture in (path, data, cv2.imread("ada.jpg")))
        with pytest.raises(ImageError, match="the picture is not a JPEG"):
            finder.faces(b"no picture")
        with pytest.raises(ImageError, match="the picture is a truncated JPEG"):
            finder.faces(data[: len(data) // 2])
        assert alike(finder.faces(bytearray(data)), wanted) and alike(finder.faces(memoryview(data)), wanted)
        for wrong, kind in (["ada.jpg"], "list"), (None, "NoneType"), (io.BytesIO(data), "BytesIO"):
            with pytest.raises(ImageError, match=f"a picture is a path, .* not {kind}: give several one by one"):
                finder.faces(wrong)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="no gallery was opened"):
            finder.enroll("Ada", "ada.jpg")
        with pytest.raises(InputError, match="no gallery was opened"):
            finder.identify("ada.jpg")


def test_a_stranger_has_no_name(place: Path) -> None:
    with FaceRecognizer("masked.bundle", "people.db", create=True, threshold=1.0) as people:
        people.enroll("Ada", "ada.jpg")
        (face,) = people.faces("street.jpg")
        assert (face.name, face.matched) == (None, False) and face.similarity == face.candidates[0].score > 0.9
        with pytest.raises(ImageError, match="picture not found"):
            people.faces("none.jpg")
        assert people.identify(["ada.jpg"]).message.endswith("not list: give several one by one")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="a person's name is a text, not int"):
            people.enroll(5, "ada.jpg")  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [2.0, float("nan")])
def test_a_wrong_threshold_is_said_at_once(place: Path, threshold: float) -> None:
    with pytest.raises(InputError, match="give a cosine between -1 and 1"):
        FaceRecognizer("masked.bundle", "people.db", create=True, threshold=threshold)
    assert not Path("people.db").exists()


def test_what_it_holds_is_closed_with_it(place: Path) -> None:
    recognizer = Recognizer.from_bundle("masked.bundle", threads=1)
    gallery = Gallery("own.db", recognizer.bundle.model_id, 512, create=True)
    with FaceRecognizer(recognizer, gallery) as people:
        people.enroll("Ada", "ada.jpg")
        assert people.gallery is gallery
    people.close()
    for act in (lambda: people.faces("ada.jpg"), lambda: recognizer.analyse("ada.jpg"), gallery.count):
        with pytest.raises(InputError, match="is closed"):
            act()
    closed: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recognizer, "close", lambda self: closed.append(self))
        with pytest.raises(InputError, match="gallery not found"):
            FaceRecognizer("masked.bundle", "typo.db")
    assert len(closed) == 1 and not Path("typo.db").exists()
    Gallery("other.db", "b" * 64, 512, create=True).close()
    with pytest.raises(ArtefactError, match="was made with model"):
        FaceRecognizer("masked.bundle", "other.db")
