"""The recogniser: what the network is fed, how faces are matched, and a clear outcome for every picture."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.backends import open_backend
from edgeface_runtime.bundle import open_bundle, pack_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import ArtefactError, DeviceError, FaceError, ImageError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.manifest import InputSpec
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import Threshold

MakeBundle = Callable[..., Path]


class ColourFinder:
    """Finds a face wherever a picture of 96 columns per face is not black there."""

    def __init__(self) -> None:
        self.closed = False

    def detect(self, image: np.ndarray) -> list[Face]:
        found = []
        for left in range(0, image.shape[1], 96):
            if image[:112, left : left + 96].any():
                box = np.array([left, 0, left + 96, 112], np.float32)
                found.append(Face(box, np.add(TEMPLATE, [left, 0]).astype(np.float32), 0.9))
        return found

    def close(self) -> None:
        self.closed = True


def crop(seed: int) -> np.ndarray:
    """A face of sixteen-pixel blocks, never black."""
    blocks = np.random.default_rng(seed).integers(1, 256, (7, 6, 3), dtype=np.uint8)
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


def picture(*seeds: int) -> np.ndarray:
    return np.concatenate([crop(seed) for seed in seeds], axis=1)


def saved(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def load(folder: Path) -> Recognizer:
    bundle = open_bundle(folder)
    return Recognizer(bundle, open_backend("onnxruntime", bundle.model_path(), threads=1), detector=ColourFinder())


@pytest.fixture
def recognizer(tiny_bundle: MakeBundle) -> Iterator[Recognizer]:
    with load(tiny_bundle()) as loaded:
        yield loaded


def by_hand(crops: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Embeddings of the tiny network, from uint8 BGR, computed with numpy alone."""
    rgb = crops[..., ::-1].astype(np.float64) / 127.5 - 1
    pooled = rgb.reshape(len(crops), 7, 16, 6, 16, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(len(crops), -1)
    raw = pooled @ weights
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_the_input_is_rgb_between_minus_one_and_one() -> None:
    pixels = np.zeros((1, 112, 96, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = 255, 127
    batch = to_batch(pixels, InputSpec())
    assert batch.shape == (1, 3, 112, 96)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, :, 5, 5], [-0.5 / 127.5, -1, 1], atol=1e-6)
    np.testing.assert_allclose(to_batch(pixels, InputSpec(color="BGR"))[0, :, 5, 5], [1, -1, -0.5 / 127.5], atol=1e-6)


def test_embeddings_are_those_of_the_network(recognizer: Recognizer, tiny_weights: tuple[Path, np.ndarray]) -> None:
    crops = np.stack([crop(k) for k in range(70)])
    found = recognizer.embed(crops)
    assert (found.vectors.shape, found.vectors.dtype) == ((70, 512), np.float32)
    np.testing.assert_allclose(found.vectors, by_hand(crops, tiny_weights[1]), atol=1e-5)
    assert found.covered_share is not None
    np.testing.assert_allclose(found.covered_share, crops.mean(axis=(1, 2, 3)) / 255, atol=1e-5)
    assert recognizer.embed(crops[:0]).vectors.shape == (0, 512)


def test_a_model_without_a_mask_has_no_covered_share(tiny_bundle: MakeBundle) -> None:
    with load(tiny_bundle(outputs=("embedding",), masking="none")) as recognizer:
        assert recognizer.embed(crop(0)[None]).covered_share is None
        assert recognizer.analyse(picture(0))[0].covered_share is None


@pytest.mark.parametrize("shape", [(112, 96, 3), (1, 96, 112, 3), (0, 96, 112, 3), (1, 112, 96)])
def test_wrong_crops_are_refused(recognizer: Recognizer, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="aligned faces must be"):
        recognizer.embed(np.zeros(shape, np.uint8))


def test_outputs_that_are_no_embeddings_are_refused(tiny_bundle: MakeBundle) -> None:
    with (
        load(tiny_bundle(embedding_size=128)) as recognizer,
        pytest.raises(ArtefactError, match=r"gave no finite embedding of shape \(1, 128\)"),
    ):
        recognizer.embed(crop(0)[None])


def test_analyse_finds_aligns_and_embeds(recognizer: Recognizer, tiny_weights: tuple[Path, np.ndarray]) -> None:
    faces = recognizer.analyse(picture(1, 2))
    wanted = by_hand(np.stack([crop(1), crop(2)]), tiny_weights[1])
    for face, vector in zip(faces, wanted, strict=True):
        assert float(face.embedding @ vector) > 0.999
        assert (face.box.shape, face.landmarks.shape, face.score) == ((4,), (5, 2), 0.9)
    assert recognizer.analyse(np.zeros((112, 96, 3), np.uint8)) == []
    with pytest.raises(ImageError, match="must be"):
        recognizer.analyse(np.zeros((112, 96), np.uint8))


def test_enrol_and_identify(recognizer: Recognizer, tmp_path: Path) -> None:
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for k, name in enumerate(["ann", "bob", "cyd"]):
            enrolment = recognizer.enroll(gallery, name, [saved(tmp_path / f"{name}.png", picture(k))])
            assert (enrolment.name, enrolment.ids) == (name, (k + 1,))
            assert enrolment.sources == (str(tmp_path / f"{name}.png"),)
        result = recognizer.identify(tmp_path / "bob.png", gallery, top=2)
        assert (result.status, result.faces[0].match, len(result.faces[0].candidates)) == ("ok", "bob", 2)
        assert result.faces[0].candidates[0].score == pytest.approx(1.0, abs=1e-3)
        assert result.threshold is not None
        assert (result.threshold.value, result.threshold.source) == (0.5, "bundle, false match rate 1e-3")
        several = recognizer.identify(picture(2, 0), gallery)
        assert (several.status, [face.match for face in several.faces]) == ("several_faces", ["cyd", "ann"])
        nobody = recognizer.identify(np.zeros((112, 96, 3), np.uint8), gallery)
        assert (nobody.status, nobody.faces, nobody.message) == ("no_face", (), "no face found")
        stranger = recognizer.identify(picture(0), gallery, threshold=1.0 - 1e-9)
        assert stranger.faces[0].match in (None, "ann")
        assert stranger.threshold is not None and stranger.threshold.source == "given"
        data = json.loads(json.dumps(result.to_dict()))
        assert data["faces"][0]["candidates"][0]["name"] == "bob"
        assert "embedding" not in data["faces"][0]
        assert len(result.to_dict(with_embedding=True)["faces"][0]["embedding"]) == 512
        assert (data["backend"]["provider"], data["backend"]["precision"]) == ("CPUExecutionProvider", "fp32")
        json.dumps(enrolment.to_dict())


def test_below_the_threshold_nobody_matches(recognizer: Recognizer, tmp_path: Path) -> None:
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        recognizer.enroll(gallery, "ann", [picture(1)])
        score = recognizer.identify(picture(2), gallery).faces[0].candidates[0].score
        assert -1 <= score < 0.99
        assert recognizer.identify(picture(2), gallery, threshold=score + 0.005).faces[0].match is None
        assert recognizer.identify(picture(2), gallery, threshold=score - 0.005).faces[0].match == "ann"


def test_a_picture_that_cannot_be_read_is_an_outcome(recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for name in ("text.jpg", "missing.jpg"):
            result = recognizer.identify(tmp_path / name, gallery)
            assert (result.status, result.faces, result.source) == ("unreadable", (), str(tmp_path / name))
            assert name in result.message
            assert "\n" not in result.message
            with pytest.raises(ImageError):
                recognizer.analyse(tmp_path / name)
            with pytest.raises(ImageError):
                recognizer.enroll(gallery, "ann", [tmp_path / name])


def test_enrolling_refuses_none_and_several_faces(recognizer: Recognizer, tmp_path: Path) -> None:
    two = saved(tmp_path / "two.png", picture(1, 2))
    empty = saved(tmp_path / "empty.png", np.zeros((112, 96, 3), np.uint8))
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        with pytest.raises(FaceError, match=r"no face found in .*empty\.png"):
            recognizer.enroll(gallery, "ann", [picture(1), empty])
        with pytest.raises(FaceError, match=r"2 faces found in .*two\.png: crop it to one, or give --largest"):
            recognizer.enroll(gallery, "ann", [picture(1), two])
        assert gallery.people() == []
        assert len(recognizer.enroll(gallery, "ann", [picture(1), two], largest=True).ids) == 2


def test_verify(recognizer: Recognizer) -> None:
    same = recognizer.verify(picture(1), picture(1))
    assert same.match
    assert same.score == pytest.approx(1.0, abs=1e-5)
    other = recognizer.verify(picture(1), picture(2), threshold=0.999)
    assert not other.match
    assert json.loads(json.dumps(other.to_dict()))["threshold"] == {"value": 0.999, "source": "given"}
    with pytest.raises(FaceError, match="2 faces found in the picture"):
        recognizer.verify(picture(1), picture(1, 2))
    recognizer.verify(picture(1), picture(1, 2), largest=True)


def test_the_threshold_is_the_callers_or_the_bundles(tiny_bundle: MakeBundle, recognizer: Recognizer) -> None:
    assert recognizer.threshold(fmr="1e-2").value == 0.3
    with pytest.raises(InputError, match=r"no threshold for a false match rate of 1e-6, it has 1e-3, 1e-2"):
        recognizer.threshold(fmr="1e-6")
    with pytest.raises(InputError, match=r"--threshold is 1\.5"):
        recognizer.threshold(1.5)
    with (
        load(tiny_bundle("bare", thresholds={})) as bare,
        pytest.raises(InputError, match=r"edgeface calibrate threshold, or give --threshold"),
    ):
        bare.verify(picture(1), picture(1))


def test_a_threshold_says_what_it_was_measured_with(tiny_bundle: MakeBundle) -> None:
    thresholds = {"0.1": 0.2, "0.01": 0.3}
    extra = {"calibration": {"0.01": {"occlusion": "mask"}, "0.1": {"occlusion": "none"}}}
    with load(tiny_bundle("told", thresholds=thresholds, extra=extra)) as recognizer:
        assert recognizer.threshold().source == "bundle, false match rate 0.01, measured with mask"
        assert recognizer.threshold(fmr="0.1").source == "bundle, false match rate 0.1"


def test_a_gallery_of_another_model_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    Gallery(tmp_path / "g.db", "b" * 64, 512, create=True).close()
    with pytest.raises(ArtefactError, match=f"model {'b' * 12}, this bundle is {recognizer.bundle.model_id[:12]}"):
        recognizer.open_gallery(tmp_path / "g.db")
    with Gallery(tmp_path / "g.db") as unbound:
        for use in (
            lambda: recognizer.identify(picture(1), unbound),
            lambda: recognizer.enroll(unbound, "ann", [picture(1)]),
        ):
            with pytest.raises(ArtefactError, match="was made with model"):
                use()
    with pytest.raises(InputError, match="edgeface enroll"):
        recognizer.open_gallery(tmp_path / "none.db")


def test_from_bundle(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = tiny_bundle()
    for path in (folder, pack_bundle(folder, tmp_path / "b.tar")):
        with Recognizer.from_bundle(path, threads=1) as recognizer:
            assert recognizer.embed(crop(0)[None]).vectors.shape == (1, 512)
            facts = recognizer.describe()
    assert (facts["model"], facts["masking"], facts["device"], facts["threads"]) == ("tiny", "decoder", "cpu", 1)
    with pytest.raises(InputError, match="unknown backend 'magic'"):
        Recognizer.from_bundle(folder, backend="magic")
    with pytest.raises(InputError, match="has no fp16 model"):
        Recognizer.from_bundle(folder, precision="fp16")
    with pytest.raises(InputError, match="engine not found"):
        Recognizer.from_bundle(folder, backend="tensorrt", precision="fp32", engine=tmp_path / "none.engine")
    with pytest.raises(InputError, match="has no fp16 model"):  # what auto means for TensorRT
        Recognizer.from_bundle(folder, backend="tensorrt")
    (tmp_path / "r.engine").write_bytes(b"plan")
    with pytest.raises((DeviceError, InputError)):
        Recognizer.from_bundle(folder, backend="tensorrt", precision="fp32", engine=tmp_path / "r.engine")


def test_faces_are_aligned_onto_the_bundles_own_template(tiny_bundle: MakeBundle) -> None:
    """Moved by whole pixels the template gives the same pixels, moved; what comes in is black."""
    moved = tiny_bundle(template=tuple((float(x) + 5, float(y) - 7) for x, y in TEMPLATE))
    pixels = np.random.default_rng(1).integers(1, 256, (112, 96, 3), dtype=np.uint8)
    face = Face(np.array([0, 0, 96, 112], np.float32), np.asarray(TEMPLATE, np.float32), 1.0)
    with Recognizer.from_bundle(moved) as recognizer:
        crop, points = recognizer.cut(pixels, face)
    wanted = np.zeros_like(pixels)
    wanted[:-7, 5:] = pixels[7:, :-5]
    assert np.abs(crop[:-8, 6:].astype(int) - wanted[:-8, 6:]).max() <= 1
    assert not crop[:, :4].any() and not crop[-6:].any()
    np.testing.assert_allclose(points, TEMPLATE + np.array((5, -7)), atol=1e-3)


def test_a_template_of_one_point_is_damage(tiny_bundle: MakeBundle) -> None:
    with pytest.raises(ArtefactError, match="no five different points"):
        tiny_bundle(template=((1.0, 1.0),) * 5)


def test_threads_share_one_recogniser(recognizer: Recognizer) -> None:
    wanted = recognizer.analyse(picture(1, 2))[1].embedding
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(recognizer.analyse(picture(1, 2))[1].embedding))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for vector in found:
        np.testing.assert_array_equal(vector, wanted)


def test_closing_closes_everything(tiny_bundle: MakeBundle) -> None:
    recognizer = load(tiny_bundle())
    finder = recognizer._detector
    recognizer.close()
    recognizer.close()
    assert isinstance(finder, ColourFinder) and finder.closed
    with pytest.raises(InputError, match="is closed"):
        recognizer.embed(crop(0)[None])


def test_with_the_real_detector(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    """The whole chain on a photograph that comes with a package: found, aligned, enrolled, identified."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's photograph: pip install 'edgeface[demo]'")
    photo = saved(tmp_path / "astronaut.png", np.ascontiguousarray(data.astronaut()[..., ::-1]))
    with (
        Recognizer.from_bundle(tiny_bundle(), threads=1) as recognizer,
        recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery,
    ):
        recognizer.enroll(gallery, "astronaut", [photo], largest=True)
        result = recognizer.identify(photo, gallery)
        assert "astronaut" in {face.match for face in result.faces}
        # Eileen Collins's face lies about (224, 125) in this picture.
        x, y = result.faces[0].landmarks.mean(axis=0)
        assert abs(x - 224) < 25 and abs(y - 125) < 35
        blank = recognizer.identify(np.full((200, 200, 3), 128, np.uint8), gallery)
        assert blank.status == "no_face"


def test_too_many_threads_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--threads is 100000: give 0 \(automatic\) to 256"):
        Recognizer.from_bundle(tmp_path / "no-bundle", threads=100_000)


def test_an_enrolment_says_the_name_as_kept(recognizer: Recognizer, tmp_path: Path) -> None:
    face = crop(1)
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        assert recognizer.enroll(gallery, " Zoe\u0308 ", [face]).name == "Zo\u00eb"


DECISION = {
    "covered_above": 0.5,
    "fmr": {"0.001": {"clean": 0.2, "mask": 0.9}},
    "fpir": {"0.01": {"templates": 1, "thresholds": {"clean": 0.3, "mask": 0.8}}},
}


def test_what_covers_a_face_and_the_gallery_decide_its_threshold(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    """The tiny network's covered share is the picture's brightness."""
    dark, light = (crop(1) // 2 + 20), (crop(1) // 2 + 127)
    with (
        load(tiny_bundle("told", thresholds={"0.001": 0.9}, extra={"decision": DECISION})) as recognizer,
        recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery,
    ):
        recognizer.enroll(gallery, "ann", [dark])
        both = recognizer.identify(np.concatenate([dark, light], 1), gallery)
        clean, covered = both.faces
        assert clean.covered_share is not None and clean.covered_share < 0.5
        assert covered.covered_share is not None and covered.covered_share > 0.5
        assert clean.threshold is not None and covered.threshold is not None and both.threshold is not None
        assert (clean.threshold.value, covered.threshold.value, both.threshold.value) == (0.3, 0.8, 0.8)
        assert "for a face that is covered" in covered.threshold.source
        assert recognizer.verify(dark, dark).threshold.value == 0.2
        assert recognizer.verify(dark, light).threshold.value == 0.9, "one of two is covered"
        assert recognizer.identify(dark, gallery, threshold=0.7).faces[0].threshold == Threshold(0.7, "given")
        recognizer.enroll(gallery, "bob", [picture(4)], accept_poor=True)
        beyond = recognizer.identify(dark, gallery).faces[0].threshold
        assert beyond is not None and "this gallery has 2" in beyond.source
        json.dumps(both.to_dict())


def test_a_poor_face_is_refused_and_a_covered_one_only_by_a_calibrated_share(
    tiny_bundle: MakeBundle, tmp_path: Path
) -> None:
    flat = np.full((112, 96, 3), 90, np.uint8)
    light = crop(1) // 2 + 127
    with (
        load(tiny_bundle("plain")) as plain,
        load(tiny_bundle("told", extra={"decision": DECISION})) as told,
        plain.open_gallery(tmp_path / "g.db", create=True) as gallery,
    ):
        with pytest.raises(FaceError, match=r"the face in the picture is blurred .*without contrast .*--accept-poor"):
            plain.enroll(gallery, "ann", [light, flat])
        assert gallery.count() == 0
        assert len(plain.enroll(gallery, "ann", [light, flat], accept_poor=True).ids) == 2
        with pytest.raises(FaceError, match=r"is covered \("):
            told.enroll(gallery, "bob", [light])


def test_the_same_face_under_two_names(recognizer: Recognizer, tmp_path: Path) -> None:
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        assert recognizer.enroll(gallery, "ann", [picture(1)]).duplicates == ()
        assert recognizer.enroll(gallery, " ann ", [picture(1)]).duplicates == ()
        (same,) = recognizer.enroll(gallery, "bob", [picture(1)]).duplicates
        assert (same.picture, same.name) == (0, "ann") and same.score == pytest.approx(1, abs=1e-5)
        found = recognizer.enroll(gallery, "cid", [picture(1)], allow_duplicate=True)
        assert (found.duplicates, found.checked, gallery.count()) == ((), False, 4)
