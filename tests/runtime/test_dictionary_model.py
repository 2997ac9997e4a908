"""A dictionary model on a device: what is discarded, by hand, on both sides; its gallery; and what it refuses."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime import dictionary_model
from edgeface_runtime.align import TEMPLATE, in_crop
from edgeface_runtime.detect import Face
from edgeface_runtime.dictionary import MaskDictionary, load_dictionary
from edgeface_runtime.errors import ArtefactError, FaceError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.manifest import read_manifest, write_manifest
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.regions import Region
from edgeface_runtime.stream import Event, Stream, StreamSettings

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

SHAPE = (3, 7, 6)
REGIONS = (Region("upper", (0, 0, 96, 48)), Region("lower", (0, 64, 96, 112)))


def rows_kept(*rows: int) -> np.ndarray:
    keep = np.zeros(SHAPE, bool)
    keep[:, list(rows)] = True
    return keep


MASKS = np.stack([rows_kept(3, 4, 5, 6), rows_kept(0, 1, 2, 3)])
"""Without the upper part rows 3 to 6 of the features stay, without the lower part rows 0 to 3."""


def write_parts(folder: Path) -> np.ndarray:
    """Trunk: 16x16 average pooling. Head: one linear layer and the norm. Segmenter: white is covered."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((126, 512)).astype(np.float32)

    def save(
        name: str, nodes: list[object], given: tuple[str, list[object]], gives: tuple[str, list[object]]
    ) -> None:
        constants = {
            "w": weights, "axes": np.array([1], np.int64), "edge": np.float32(0.9), "steep": np.float32(200)
        }  # fmt: skip
        used = {value for node in nodes for value in node.input}  # type: ignore[attr-defined]
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
            [helper.make_tensor_value_info(gives[0], TensorProto.FLOAT, gives[1])],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items() if key in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, str(folder / name))

    node = helper.make_node
    picture, features = ("input", ["batch", 3, 112, 96]), ("features", ["batch", *SHAPE])
    save("trunk.onnx", [node("AveragePool", ["input"], ["features"], kernel_shape=[16, 16], strides=[16, 16])],
         picture, features)  # fmt: skip
    save(
        "head.onnx",
        [
            node("Flatten", ["features"], ["flat"]),
            node("Gemm", ["flat", "w"], ["raw"]),
            node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
        ],
        features,
        ("embedding", ["batch", 512]),
    )
    save(
        "segmenter.onnx",
        [
            node("ReduceMin", ["input", "axes"], ["darkest"], keepdims=1),
            node("Sub", ["darkest", "edge"], ["above"]),
            node("Mul", ["above", "steep"], ["logit"]),
            node("Sigmoid", ["logit"], ["covered"]),
        ],
        picture,
        ("covered", ["batch", 1, 112, 96]),
    )
    return weights


DictionaryBundle = Callable[..., Path]
ENTRY = {
    "files": {
        "trunk": {"fp32": "trunk.onnx"},
        "head": {"fp32": "head.onnx"},
        "segmenter": "segmenter.onnx",
        "dictionary": "dictionary.npz",
    },
    "features": list(SHAPE),
}


@pytest.fixture
def dictionary_bundle(tiny_bundle: Callable[..., Path]) -> DictionaryBundle:
    def make(name: str = "dictionary", kind: str = "lm2", masks: np.ndarray = MASKS, **changes: object) -> Path:
        folder = tiny_bundle(name, outputs=("embedding",), masking="none")
        write_parts(folder)
        regions = REGIONS
        if kind == "lmface":
            regions = tuple(Region(n, (0, 0, 1, 1)) for n in ("forehead", "left_eye", "right_eye", "nose", "mouth"))
            regions = (*regions, Region("chin", (0, 0, 1, 1)))
            masks = np.repeat(MASKS[:1], 6, axis=0)
        MaskDictionary(kind, regions, masks, (112, 96), kind == "lmface").save(folder / "dictionary.npz")
        extra = {"dictionary": {**ENTRY, **changes}}
        write_manifest(folder, replace(read_manifest(folder), masking=kind, extra=extra))
        return folder

    return make


class Finder:
    """One face that fills the picture, or one every 96 columns."""

    def __init__(self, landmarks: np.ndarray | None = None) -> None:
        self.landmarks = np.asarray(TEMPLATE if landmarks is None else landmarks, np.float32)

    def detect(self, image: np.ndarray) -> list[Face]:
        return [
            Face(
                np.array([left, 0, left + 96, 112], np.float32), self.landmarks + np.array([left, 0], np.float32), 0.9
            )
            for left in range(0, image.shape[1], 96)
        ]

    def close(self) -> None:
        pass


def crop(seed: int, cover: str = "") -> np.ndarray:
    """A face of sixteen-pixel blocks, never white; `u` and `l` cover the three upper and lower rows of blocks."""
    blocks = np.random.default_rng(seed).integers(0, 200, (7, 6, 3), dtype=np.uint8)
    if "u" in cover:
        blocks[:3] = 255
    if "l" in cover:
        blocks[4:] = 255
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


def by_hand(face: np.ndarray, weights: np.ndarray, keep: np.ndarray) -> np.ndarray:
    features = (face[::16, ::16, ::-1].astype(np.float64) / 127.5 - 1).transpose(2, 0, 1)
    raw = (features * keep).reshape(-1) @ weights
    return raw / np.linalg.norm(raw)


WEIGHTS = np.random.default_rng(0).standard_normal((126, 512)).astype(np.float32)
EVERYTHING = np.ones(SHAPE, bool)


def load(folder: Path, landmarks: np.ndarray | None = None) -> Recognizer:
    recognizer = Recognizer.from_bundle(folder, threads=1)
    recognizer._detector = Finder(landmarks)
    return recognizer


@pytest.fixture
def recognizer(dictionary_bundle: DictionaryBundle) -> Iterator[Recognizer]:
    with load(dictionary_bundle()) as loaded:
        yield loaded


@pytest.fixture
def people(recognizer: Recognizer, tmp_path: Path) -> Iterator[Gallery]:
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for k, name in enumerate(["ann", "bob", "cyd"]):
            recognizer.enroll(gallery, name, [crop(k)])
        yield gallery


def scores(recognizer: Recognizer, gallery: Gallery, picture: np.ndarray) -> dict[str, float]:
    face = recognizer.identify(picture, gallery, threshold=0.9).faces[0]
    return {candidate.name: candidate.score for candidate in face.candidates}


def test_embeddings_are_unmasked_and_come_with_features(recognizer: Recognizer) -> None:
    found = recognizer.embed(np.stack([crop(0), crop(1, "l")]))
    for vector, face in zip(found.vectors, (crop(0), crop(1, "l")), strict=True):
        np.testing.assert_allclose(vector, by_hand(face, WEIGHTS, EVERYTHING), atol=1e-5)
    assert found.features is not None and (found.features.shape, found.features.dtype) == ((2, *SHAPE), np.float16)
    assert found.covered_share is None
    assert recognizer.embed(np.zeros((0, 112, 96, 3), np.uint8)).vectors.shape == (0, 512)
    assert recognizer.describe()["masking"] == "lm2"


@pytest.mark.parametrize(
    ("cover", "keep", "names", "share"),
    [
        ("", EVERYTHING, (), 0.0),
        ("l", MASKS[1], ("lower",), 3 / 7),
        ("u", MASKS[0], ("upper",), 3 / 7),
        ("ul", MASKS[0] & MASKS[1], ("upper", "lower"), 6 / 7),
    ],
)
def test_both_sides_are_compared_without_what_is_covered(
    recognizer: Recognizer, people: Gallery, cover: str, keep: np.ndarray, names: tuple[str, ...], share: float
) -> None:
    probe = crop(1, cover)
    result = recognizer.identify(probe, people, threshold=0.9)
    face = result.faces[0]
    assert (face.match, face.discarded, face.note) == ("bob", names, "")
    assert face.covered_share == pytest.approx(share, abs=1e-6)
    wanted = {
        name: float(by_hand(probe, WEIGHTS, keep) @ by_hand(crop(k), WEIGHTS, keep))
        for k, name in enumerate(["ann", "bob", "cyd"])
    }
    assert {c.name: c.score for c in face.candidates} == pytest.approx(wanted, abs=1e-3)
    data = json.loads(json.dumps(result.to_dict()))["faces"][0]
    assert data["discarded"] == list(names) and "features" not in data


def test_discarded_features_count_as_their_mean_on_both_sides(
    dictionary_bundle: DictionaryBundle, tmp_path: Path
) -> None:
    folder = dictionary_bundle()
    mean = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float16)
    path = folder / "dictionary.npz"
    replace(load_dictionary(path), mean=mean, discarded="mean").save(path)
    write_manifest(folder, read_manifest(folder))
    probe, keep = crop(1, "l"), MASKS[1]

    def hand(face: np.ndarray) -> np.ndarray:
        features = (face[::16, ::16, ::-1].astype(np.float64) / 127.5 - 1).transpose(2, 0, 1)
        raw = np.where(keep, features, mean.astype(np.float64)).reshape(-1) @ WEIGHTS
        return raw / np.linalg.norm(raw)

    with load(folder) as recognizer, recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for k, name in enumerate(["ann", "bob"]):
            recognizer.enroll(gallery, name, [crop(k)])
        found = scores(recognizer, gallery, probe)
    wanted = {name: float(hand(probe) @ hand(crop(k))) for k, name in enumerate(["ann", "bob"])}
    assert found == pytest.approx(wanted, abs=1e-3)


def test_two_faces_are_compared_without_what_is_covered_on_either(recognizer: Recognizer) -> None:
    found = recognizer.verify(crop(1, "l"), crop(2, "u"), threshold=0.9)
    keep = MASKS[0] & MASKS[1]
    wanted = by_hand(crop(1, "l"), WEIGHTS, keep) @ by_hand(crop(2, "u"), WEIGHTS, keep)
    assert found.score == pytest.approx(float(wanted), abs=1e-3)
    assert (found.discarded, found.a.discarded, found.b.discarded) == (("upper", "lower"), ("lower",), ("upper",))
    assert found.to_dict()["discarded"] == ["upper", "lower"]
    plain = recognizer.verify(crop(1), crop(1), threshold=0.9)
    assert plain.discarded == () and plain.score == pytest.approx(1.0, abs=1e-5)


def test_templates_are_remade_once_an_fdm_and_again_when_the_gallery_changes(
    recognizer: Recognizer, people: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recognizer.masking is not None
    head, ran = recognizer.masking._head, []
    monkeypatch.setattr(head, "run", lambda batch, run=head.run: (ran.append(len(batch)), run(batch))[1])

    def runs(cover: str) -> list[int]:
        """Batches of masked features: the gallery's where it is remade, then the probe's."""
        ran.clear()
        recognizer.identify(crop(1, cover), people, threshold=0.9)
        return ran[1:]  # the first is the unmasked probe

    assert runs("l") == [3, 1]
    assert runs("l") == [1] and runs("u") == [3, 1] and runs("l") == [1]
    assert people._masked.size_bytes > 2 * 3 * 512 * 4
    recognizer.enroll(people, "dan", [crop(3)])
    assert people._masked.size_bytes == 0
    assert runs("l") == [4, 1] and runs("l") == [1]
    with recognizer.open_gallery(tmp_path / "g.db") as other:
        other.delete("dan")
    assert runs("l") == [3, 1]
    people.delete("cyd")
    assert people._masked.size_bytes == 0
    assert set(scores(recognizer, people, crop(1, "l"))) == {"ann", "bob"}


def test_what_is_remembered_is_bounded_in_bytes(people: Gallery) -> None:
    made: list[bytes] = []

    def remade(key: bytes, keep_bytes: int) -> bool:
        def embed(features: np.ndarray) -> np.ndarray:
            made.append(key)
            return np.ones((len(features), 512), np.float32)

        before = len(made)
        names, matrix = people.masked(key, embed, keep_bytes, batch=2)
        assert names == ["ann", "bob", "cyd"] and matrix.shape == (3, 512)
        assert people._masked.size_bytes <= keep_bytes
        return len(made) > before

    one = 3 * 512 * 4 + len("annbobcyd") + 1
    assert remade(b"a", 2 * one) and remade(b"b", 2 * one) and not remade(b"a", 2 * one)
    assert remade(b"c", 2 * one) and not remade(b"a", 2 * one) and remade(b"b", 2 * one)
    people._masked.clear()
    assert remade(b"a", one - 1) and remade(b"a", one - 1)


def test_too_large_a_gallery_refuses_covered_faces_only(
    recognizer: Recognizer, people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictionary_model, "MAX_MASKED", 2)
    result = recognizer.identify(np.concatenate([crop(1, "l"), crop(2)], axis=1), people, threshold=0.9)
    assert result.status == "refused"
    assert "holds 3 templates, a covered face is compared with at most 2" in result.message
    assert "\n" not in result.message
    covered, free = result.faces
    assert (covered.match, covered.candidates, covered.note) == (None, (), "covered, and the gallery is too large")
    assert free.match == "cyd"
    assert recognizer.identify(crop(2), people, threshold=0.9).status == "ok"


def test_a_stream_says_what_identify_says(
    recognizer: Recognizer, people: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, picture in (("a", crop(1, "l")), ("b", crop(2)), ("c", crop(1, "u"))):
        assert cv2.imwrite(str(folder / f"{name}.png"), picture)
    settings = StreamSettings(threshold=0.9)
    with Stream(recognizer, folder, people, settings) as stream:
        for result in stream:
            (face,) = result.faces
            wanted = recognizer.identify(result.frame.source, people, threshold=0.9).faces[0]
            assert face.decided is not None
            assert (face.name, face.score) == (wanted.match, pytest.approx(wanted.candidates[0].score))
            assert (face.decided.discarded, face.decided.covered_share) == (wanted.discarded, wanted.covered_share)
            assert face.to_dict()["discarded"] == list(wanted.discarded)
    assert stream.summary().handled == 3
    monkeypatch.setattr(dictionary_model, "MAX_MASKED", 2)
    told: list[Event] = []
    with Stream(recognizer, folder, people, settings, on_event=told.append) as stream:
        names = [result.faces[0].name for result in stream]
    assert names == [None, "cyd", None]
    refused = [event.message for event in told if event.kind == "refused"]
    assert len(refused) == 1 and "a covered face is compared with at most 2" in refused[0], "said once"


def test_with_nothing_left_nobody_matches(dictionary_bundle: DictionaryBundle, tmp_path: Path) -> None:
    masks = np.stack([rows_kept(4, 5, 6), rows_kept(0, 1, 2, 3)])
    with (
        load(dictionary_bundle(masks=masks)) as recognizer,
        recognizer.open_gallery(tmp_path / "n.db", create=True) as gallery,
    ):
        recognizer.enroll(gallery, "ann", [crop(1)])
        face = recognizer.identify(crop(1, "ul"), gallery, threshold=-1.0).faces[0]
        assert (face.match, face.candidates) == (None, ())
        assert face.note == "too much of the face is covered to match it"
        with pytest.raises(FaceError, match="too much of the face is covered"):
            recognizer.verify(crop(1, "l"), crop(1, "u"), threshold=0.5)


def test_regions_follow_the_landmarks_of_each_face(
    dictionary_bundle: DictionaryBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the template the nose's region is rows 60.4 to 83.5; 30 pixels higher only the chin's lies below row 64."""
    points = TEMPLATE - [0, 3]
    with load(dictionary_bundle(kind="lmface"), points) as recognizer:
        masking = recognizer.masking
        assert masking is not None
        crops = np.stack([crop(1, "l")] * 2)
        straight, moved = masking.look(crops, [TEMPLATE, TEMPLATE - [0, 30]])
        assert (straight.discarded, moved.discarded) == (("nose", "mouth", "chin"), ("chin",))
        given: list[np.ndarray] = []
        look = masking.look
        monkeypatch.setattr(masking, "look", lambda crops, points: (given.extend(points), look(crops, points))[1])
        assert recognizer.analyse(crop(1, "l"))[0].covered_share == pytest.approx((112 - 64 - 3) / 112, abs=0.01)
        np.testing.assert_allclose(given[0], TEMPLATE, atol=1e-4)


def test_a_network_of_box_crops_gets_the_box_as_it_is(
    dictionary_bundle: DictionaryBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dictionary_bundle(kind="lmface")
    write_manifest(folder, replace(read_manifest(folder), crop="box"))
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[40:152, 50:146] = crop(4)
    points = np.add(TEMPLATE[::-1], (50, 40))  # no alignment would leave such a face as it is
    face = Face(np.array([50, 40, 146, 152], np.float32), points.astype(np.float32), 0.9)
    with load(folder) as recognizer:
        monkeypatch.setattr(recognizer._detector, "detect", lambda image: [face])
        assert recognizer.masking is not None
        monkeypatch.setattr(recognizer.masking, "look", lambda crops, given: seen.extend(given) or [cover])
        seen: list[np.ndarray] = []
        cover = dictionary_model.Cover(0.25, ("nose",))
        found = recognizer.single_face(picture)
    np.testing.assert_allclose(found.embedding, by_hand(crop(4), WEIGHTS, EVERYTHING), atol=1e-5)
    np.testing.assert_allclose(seen[0], TEMPLATE[::-1], atol=1e-4)
    assert (found.discarded, found.covered_share) == (("nose",), 0.25)
    with pytest.raises(ArtefactError, match="asks for crop 'round'"):
        write_manifest(folder, replace(read_manifest(folder), crop="round"))


def test_landmarks_are_brought_into_the_crop() -> None:
    turned = np.array([[0, -2], [2, 0]]) @ TEMPLATE.T + np.array([[300], [20]])
    np.testing.assert_allclose(in_crop(turned.T), TEMPLATE, atol=1e-9)


def test_a_gallery_keeps_two_bytes_a_feature_and_erases_them(
    recognizer: Recognizer, people: Gallery, tmp_path: Path
) -> None:
    path = tmp_path / "g.db"
    features = recognizer.embed(crop(2)[None]).features
    assert features is not None
    blob = features[0].astype("<f2").tobytes()
    assert len(blob) == 3 * 7 * 6 * 2
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT features FROM templates WHERE name = 'cyd'").fetchone()[0] == blob
    connection.close()
    assert people.features == SHAPE
    assert people.delete("cyd").erased
    wal = path.with_name(path.name + "-wal")
    assert blob not in path.read_bytes() + (wal.read_bytes() if wal.exists() else b"")
    people.close()
    with Gallery(path) as unbound:
        assert [person.name for person in unbound.people()] == ["ann", "bob"]


def test_galleries_with_and_without_features_are_told_apart(
    recognizer: Recognizer, people: Gallery, tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    plain = Recognizer.from_bundle(tiny_bundle("plain", outputs=("embedding",), masking="none"), threads=1)
    plain._detector = Finder()
    assert plain.bundle.model_id == recognizer.bundle.model_id
    with plain, plain.open_gallery(tmp_path / "old.db", create=True) as old:
        plain.enroll(old, "ann", [crop(0)])
        assert plain.identify(crop(0), people, threshold=0.9).faces[0].match == "ann"
        with pytest.raises(ArtefactError, match="keeps features for masking, which this bundle does not give"):
            plain.enroll(people, "eve", [crop(4)])
        for use in (
            lambda: recognizer.open_gallery(tmp_path / "old.db"),
            lambda: recognizer.identify(crop(0), old, threshold=0.9),
            lambda: recognizer.enroll(old, "eve", [crop(4)]),
        ):
            with pytest.raises(ArtefactError, match=r"keeps no features for masking.*enrol into a new gallery"):
                use()
        assert len(old.people()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("features = substr(features, 1, 9)", "features are cut"),
        ("features = NULL", "templates without features"),
        ("features = CAST(substr(features, 3) || X'007C' AS BLOB)", "features have changed"),
    ],
)
def test_damaged_features_are_one_line(
    recognizer: Recognizer, people: Gallery, tmp_path: Path, change: str, message: str
) -> None:
    connection = sqlite3.connect(tmp_path / "g.db")
    connection.execute(f"UPDATE templates SET {change} WHERE name = 'bob'")
    connection.commit()
    connection.close()
    with pytest.raises(ArtefactError, match=message) as info:
        recognizer.identify(crop(1, "l"), people, threshold=0.9)
    assert "\n" not in str(info.value)


def test_unusable_features_are_refused(people: Gallery) -> None:
    for features in (np.zeros((3, 7, 5)), np.full(SHAPE, np.nan), np.full(SHAPE, 1e6)):
        with pytest.raises(InputError, match="not a face's features"):
            people.enroll_many("eve", [np.ones(512)], [""], [features])
    with pytest.raises(ArtefactError, match="keeps features"):
        people.enroll("eve", np.ones(512))


def test_a_dictionary_runs_on_onnxruntime_only(dictionary_bundle: DictionaryBundle) -> None:
    with pytest.raises(InputError, match="runs on onnxruntime only for now: leave --backend tensorrt out"):
        Recognizer.from_bundle(dictionary_bundle(), backend="tensorrt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": [3, 7]}, "three positive numbers"),
        ({"files": {**ENTRY["files"], "segmenter": "gone.onnx"}}, r"'gone\.onnx' is not among its files"),
        ({"files": {**ENTRY["files"], "head": {}}}, "a trunk and a head"),
        ({"features": [3, 6, 6]}, "its dictionary is of another network"),
    ],
)
def test_damaged_parts_are_refused(
    dictionary_bundle: DictionaryBundle, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ArtefactError, match=message) as info:
        Recognizer.from_bundle(dictionary_bundle(**changes), threads=1)
    assert "\n" not in str(info.value)
