"""The whole chain on one machine: faces, dense training, and for every ratio prune, retrain, train occluded with the
mask, export, build; then the table of all ratios, and photographs recognised with the default
model.

By default on procedural faces at reduced width, in a few minutes on two cores: it shows that the chain works and is
no evidence of accuracy.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.data.folders import scan
from edgeface.workflows.demo_data import DemoFaces, prepare_faces
from edgeface.workflows.demo_photo import PhotoResult, recognise_photos
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_json

if TYPE_CHECKING:
    from edgeface.workflows.benchmark import BenchmarkReport

__all__ = ["DemoReport", "DemoSettings", "run_demo"]

Note = Callable[[str], None]
SETTINGS_NAME = "settings.json"
RATES = (1e-3, 1e-2, 1e-1)
CAVEAT = "a short training on drawn faces shows that the chain works, it is no evidence of accuracy"


@dataclass(frozen=True)
class DemoSettings:
    """What the demo trains."""

    faces: Path | None = None
    """Identity folders of crops or photographs; None: procedural faces."""
    ratios: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    arch: str = "iresnet50"
    width: float = 0.25
    """Scale of every width."""
    people: int = 120
    per_person: int = 5
    """Pictures of each procedural person."""
    epochs: tuple[int, int, int] = (6, 1, 3)
    """Dense clean, clean after pruning, occluded with the mask."""
    batch: int = 32
    seed: int = 0
    sensitivity_faces: int = 16
    """Faces the sensitivity of each group is measured on."""

    def __post_init__(self) -> None:
        if len(self.epochs) != 3 or min(self.epochs) < 1:
            raise InputError(f"--epochs takes three numbers from 1, such as 6,1,3, got {self.epochs}")
        if not self.ratios:
            raise InputError("--ratios is empty")
        if any(not 0 <= ratio <= 0.9 for ratio in self.ratios):
            raise InputError(f"--ratios must lie between 0 and 0.9, got {', '.join(f'{r:g}' for r in self.ratios)}")
        if self.batch < 2 or self.seed < 0:
            raise InputError(f"--batch must be at least 2 and --seed at least 0, got {self.batch} and {self.seed}")


@dataclass(frozen=True)
class DemoReport:
    """What came out."""

    faces: DemoFaces
    bundles: dict[str, Path]
    engines: dict[str, str]
    """Ratio -> the engine's path, or why there is none."""
    photos: PhotoResult
    """What the default model made of photographs."""
    benchmark: BenchmarkReport
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = _plain(asdict(self))
        return data


def run_demo(
    settings: DemoSettings, out: Path, *, resume: bool = False, quiet: bool = False, note: Note
) -> DemoReport:
    """Run everything into `out`; a stopped demo goes on with `resume`.

    Raises:
        InputError: `out` is not empty and `resume` was not given, it was begun with other settings, or bad faces.
        GateError: an exported graph differs from its network.
        MissingExtraError: a package of the extras train, cpu, plot or demo is missing.
    """
    from edgeface.workflows.benchmark import BenchmarkSettings, benchmark, bundle_subjects
    from edgeface.workflows.benchmark_report import write_report

    _require_extras()
    from edgeface.models import build_spec

    build_spec(settings.arch, settings.width)  # unknown names are refused before the work
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: name a folder")
    if out.exists() and any(out.iterdir()) and not resume:
        raise InputError(f"{out} is not empty: name another --out, or go on with --resume")
    _claim(settings, out)
    faces = prepare_faces(settings.faces, out / "faces", settings.people, settings.per_person, settings.seed, note)
    dense = _dense(settings, faces, out, quiet, note)
    bundles, engines = {}, {}
    for ratio in settings.ratios:
        bundles[f"{ratio:g}"] = _one_ratio(settings, faces, dense, ratio, out / f"ratio_{ratio:g}", quiet, note)
        engines[f"{ratio:g}"] = _engine(bundles[f"{ratio:g}"], out / f"ratio_{ratio:g}", note)
    note(
        "recognising photographs with the default model: one enrolled, clean and with a mask drawn on, and a stranger"
    )
    photos = recognise_photos(faces.test, out / "photos")
    measure = BenchmarkSettings(runs=20, warmup=3)
    trained = CAVEAT if settings.faces is None else "a short training"
    report = benchmark(
        bundle_subjects(list(bundles.values()), measure),
        measure,
        weights="trained",
        caveat=f"{trained}: {faces.people[0]} people, {faces.source}",
        note=note,
    )
    files = write_report(report, out)
    result = DemoReport(faces, bundles, engines, photos, report, (*files, photos.picture))
    write_json(out / "demo.json", {"settings": _plain(asdict(settings)), **result.to_dict()})
    return result


def _claim(settings: DemoSettings, out: Path) -> None:
    """Keep the settings in `out`, or compare them with those it was begun with; only the ratios may differ."""
    kept, path = _plain(asdict(settings)), out / SETTINGS_NAME
    del kept["ratios"]
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as exc:
            raise InputError(f"{path} is damaged: name another --out") from exc
        changed = [
            f"--{key} {before.get(key)}, now {value}" for key, value in kept.items() if before.get(key) != value
        ]
        if changed:
            raise InputError(f"{out} was begun with {'; '.join(changed)}: use the same, or another --out")
        return
    if settings.faces is not None:
        scan(settings.faces)  # bad faces leave no folder behind
    write_json(path, kept)


def _dense(settings: DemoSettings, faces: DemoFaces, out: Path, quiet: bool, note: Note) -> Path:
    from edgeface.models import build_spec

    note(f"training the dense network, {settings.epochs[0]} epochs on clean faces")
    return _train(settings, "clean", 0, faces.train, out / "dense", build_spec(settings.arch, settings.width), quiet)


def _one_ratio(
    settings: DemoSettings, faces: DemoFaces, dense: Path, ratio: float, folder: Path, quiet: bool, note: Note
) -> Path:
    """Prune, retrain, train occluded, judge, export, calibrate: returns the bundle."""
    from edgeface.data.sample import sample_faces
    from edgeface.models import load_checkpoint
    from edgeface.pruning.run import prune_checkpoint
    from edgeface_export.bundle_writer import write_bundle

    bundle = folder / "bundle"
    if (bundle / "manifest.json").is_file() and (folder / "finished").is_file():
        return bundle
    start = dense
    if ratio > 0:
        sample = sample_faces(faces.train, settings.sensitivity_faces, settings.seed)
        pruned = folder / "pruned.safetensors"
        note(f"ratio {ratio:g}: pruning, sensitivity on {len(sample.crops)} faces")
        if not pruned.is_file():
            prune_checkpoint(load_checkpoint(dense), ratio, pruned, faces=sample.crops, source_of_faces=sample.source)
        note(f"ratio {ratio:g}: training clean, {settings.epochs[1]} epochs")
        start = _train(settings, "clean", 1, faces.train, folder / "clean", pruned, quiet)
    note(f"ratio {ratio:g}: training occluded with the mask, {settings.epochs[2]} epochs")
    final = _train(settings, "occluded", 2, faces.train, folder / "occluded", start, quiet)
    _judge(final, faces.test)
    note(f"ratio {ratio:g}: exporting, PyTorch against ONNX")
    sample = sample_faces(faces.test, 16, settings.seed)
    manifest = write_bundle(
        load_checkpoint(final), bundle, f"demo {ratio:g}", sample.crops, ("fp32", "fp16"), overwrite=True
    )
    note(f"ratio {ratio:g}: cosine at least {manifest.parity['fp32']['cosine_min']:.6f}")
    _calibrate(bundle, faces.test, note)
    for state in folder.rglob("state.safetensors"):
        state.unlink()  # three times the weights, needed only to go on with
    (folder / "finished").touch()
    return bundle


def _train(settings: DemoSettings, stage: str, step: int, data: Path, out: Path, init: Any, quiet: bool) -> Path:
    from edgeface.training.loop import train
    from edgeface.training.settings import TrainSettings

    if (out / "model.safetensors").is_file():
        return out / "model.safetensors"
    options = TrainSettings(
        stage=stage,
        epochs=settings.epochs[step],
        batch=settings.batch,
        lr=(0.1, 0.02, 0.05)[step],
        schedule="cosine",
        warmup=0.1,
        seed=settings.seed,
    )
    mask = "decoder" if stage == "occluded" else None
    result = train(options, data, out, init, mask=mask, resume=(out / "run.json").is_file(), quiet=quiet)
    if not result.done:
        raise KeyboardInterrupt
    return result.checkpoint


def _judge(checkpoint: Path, test: Path) -> None:
    """Rank-1 among people nothing was trained on, clean and with masks, kept in the checkpoint."""
    from edgeface.evaluation import Occlusion, evaluate_identify, open_embedder
    from edgeface.evaluation.record import record_result

    with open_embedder(checkpoint, device="cpu") as embedder:
        for cover in (None, Occlusion("mask"), Occlusion("random")):
            record_result(checkpoint, evaluate_identify(embedder, test, occlusion=cover, name="held-out").record())


def _calibrate(bundle: Path, test: Path, note: Note) -> None:
    """The threshold of the smallest rate that the held-out people can carry."""
    from edgeface.evaluation import open_embedder
    from edgeface.evaluation.threshold import calibrate_threshold
    from edgeface.evaluation.threshold_store import store_thresholds

    with open_embedder(bundle, threads=1) as embedder:
        for rate in RATES:
            try:
                found = calibrate_threshold(embedder, test, (rate,))
            except InputError:
                continue
            store_thresholds(bundle, found)
            return
    note("too few held-out faces for a threshold")


def _engine(bundle: Path, folder: Path, note: Note) -> str:
    """Compile with TensorRT-RTX, which needs no GPU for that, where it is installed."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        note("no engine: pip install 'edgeface[rtx]' to compile one")
        return "tensorrt-rtx is not installed"
    from edgeface_export.build import build_engine
    from edgeface_runtime.bundle import open_bundle

    path = folder / "recognizer.engine"
    built = build_engine(open_bundle(bundle).model_path("fp16"), path, "tensorrt-rtx")
    note(
        f"engine: {built.flavour} {built.precision}, {built.build_s:.1f} s"
        + (f", {built.note}" if built.note else "")
    )
    return str(path)


def _require_extras() -> None:
    """Refuse at once, not after minutes of training."""
    from edgeface_runtime.errors import EXTRAS, MissingExtraError

    needed = ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime", "matplotlib", "skimage")
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        extras = ",".join(dict.fromkeys(EXTRAS[package] for package in missing))
        raise MissingExtraError(missing[0], extras)


def _plain(value: Any) -> Any:
    """Paths as text, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
