"""A bundle as a secondary engine of DeepStream: configuration of its Gst-nvinfer element, model, README.

nvinfer computes y = net-scale-factor * (x - offsets[c]); ours is (x - mean) / std. It cuts the detector's box and
aligns nothing, which costs accuracy (docs/deepstream.md has what was measured). Keys are those of the Gst-nvinfer
page of NVIDIA's DeepStream documentation. Not run here: no DeepStream.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.bundle import EXPORTED, Bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write, part_folder, write_bytes

__all__ = ["CONFIG", "README", "DeepStreamSettings", "config_text", "write_deepstream"]

CONFIG, README = "config_infer_secondary_face.txt", "README.md"
NETWORK_MODES = {"fp32": 0, "int8": 1, "fp16": 2, "int8+fp16": 1}
COLORS = {"RGB": 0, "BGR": 1}
SMALLEST = 40
"""Side of a box in pixels from which a face is embedded, as our detector's."""


@dataclass(frozen=True)
class DeepStreamSettings:
    """Where in a pipeline the engine is to work."""

    precision: str = "fp16"
    """Of EXPORTED."""
    primary_id: int = 1
    """gie-unique-id of the face detector; the recogniser gets the next."""
    batch: int = 16
    """Faces in one call, at most."""

    def __post_init__(self) -> None:
        if self.precision not in EXPORTED:
            raise ValueError(f"unknown --precision {self.precision!r}: choose one of {', '.join(EXPORTED)}")
        if self.primary_id < 1:
            raise ValueError(f"--primary-id must be at least 1, got {self.primary_id}")
        if not 1 <= self.batch <= 1024:
            raise ValueError(f"--batch must be 1 to 1024, got {self.batch}")


def write_deepstream(bundle: Bundle, out: Path, settings: DeepStreamSettings) -> list[str]:
    """Write the folder `out`: configuration, model and README. Returns the names of its files.

    Raises:
        InputError: a dictionary model, no such precision in the bundle, or `out` is taken or cannot be written.
    """
    manifest = bundle.manifest
    if manifest.dictionary is not None:
        raise InputError(
            f"{bundle.source} masks by a dictionary ({manifest.masking}), which takes two networks and the gallery "
            "between them: nvinfer runs one; give a bundle without a dictionary"
        )
    model = bundle.model_path(settings.precision)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists: choose another --out")
    with part_folder(out) as work:
        folder = work / "deepstream"
        try:
            folder.mkdir()
            shutil.copyfile(model, folder / model.name)
            write_bytes(folder / CONFIG, config_text(bundle, settings).encode())
            write_bytes(folder / README, _readme(bundle, settings).encode())
            folder.rename(out)
        except OSError as exc:
            raise cannot_write(out, exc) from exc
    return sorted(path.name for path in out.iterdir())


def engine_name(bundle: Bundle, settings: DeepStreamSettings) -> str:
    """What nvinfer itself calls an engine that it builds, so that it finds it again."""
    model = bundle.model_path(settings.precision).name
    return f"{model}_b{settings.batch}_gpu0_{settings.precision}.engine"


def config_text(bundle: Bundle, settings: DeepStreamSettings) -> str:
    """The configuration file of the nvinfer element. Paths in it are relative to it."""
    manifest, spec = bundle.manifest, bundle.manifest.input
    model = bundle.model_path(settings.precision).name
    source = [f"onnx-file={model}"]
    if settings.precision.startswith("int8"):
        source = ["# no onnx-file: without a calibration table nvinfer would silently build an FP16 engine of it"]
    lines = [
        f"# {_line(manifest.name)}, {settings.precision}: face embeddings as a secondary engine, by edgeface.",
        "# nvinfer cuts the detector's box and does not align it: see README.md for what that costs.",
        "[property]",
        "gpu-id=0",
        f"gie-unique-id={settings.primary_id + 1}",
        "# secondary: on the objects of the detector with this id",
        "process-mode=2",
        f"operate-on-gie-id={settings.primary_id}",
        "# if the detector finds more than faces: operate-on-class-ids=0",
        "# other: no parser, the embedding comes as tensor metadata of each object",
        "network-type=100",
        "output-tensor-meta=1",
        f"output-blob-names={';'.join(manifest.outputs)}",
        *source,
        f"model-engine-file={engine_name(bundle, settings)}",
        f"batch-size={settings.batch}",
        "# 0 FP32, 1 INT8, 2 FP16",
        f"network-mode={NETWORK_MODES[settings.precision]}",
        "# channels;height;width, NCHW",
        f"infer-dims=3;{spec.height};{spec.width}",
        "network-input-order=0",
        "# 0 RGB, 1 BGR",
        f"model-color-format={COLORS[spec.color]}",
        f"# y = net-scale-factor * (x - offset), which is (x - {spec.mean:g}) / {spec.std:g}",
        f"net-scale-factor={1 / spec.std!r}",
        "offsets=" + ";".join([repr(spec.mean)] * 3),
        *_scaling(manifest.crop),
        f"input-object-min-width={SMALLEST}",
        f"input-object-min-height={SMALLEST}",
    ]
    return "\n".join(lines) + "\n"


def _scaling(crop: str) -> list[str]:
    """A network for boxes was trained on stretched ones; one for aligned faces does better on padded ones."""
    if crop == "box":
        return ["maintain-aspect-ratio=0"]
    return ["maintain-aspect-ratio=1", "symmetric-padding=1"]


def _readme(bundle: Bundle, settings: DeepStreamSettings) -> str:
    manifest = bundle.manifest
    engine = engine_name(bundle, settings)
    if settings.precision.startswith("int8"):
        build = "**Build the engine first**; nvinfer cannot build this one by itself:"
    else:
        build = "Build the engine (without it nvinfer builds one at its first start, which takes minutes):"
    if manifest.crop == "box":
        cost = "This network takes the detector's box as it is, which is what nvinfer cuts."
    else:
        cost = (
            "**nvinfer cuts the detector's box and aligns nothing.** This network was trained on faces aligned by\n"
            "five points: on box crops it makes many more errors, however good the engine. Measured with a\n"
            "MobileFaceNet on pairs of LFW: accuracy 98.4 % aligned, 92.7 % on boxes; at a false match rate of\n"
            "1e-2, 97.7 % of genuine pairs accepted against 77.5 %. What to do about it (align in a custom\n"
            "Gst-nvdspreprocess library, or a network for box crops) is in edgeface's docs/deepstream.md. The\n"
            "bundle's thresholds hold for aligned faces only."
        )
    return f"""# {_line(manifest.name)} for DeepStream

Not run here: written from the documentation of Gst-nvinfer, tried on no DeepStream.

{cost}

1. {build}
   `edgeface build {bundle.source} --backend tensorrt --precision {settings.precision} --max-batch {settings.batch} \\
   --out {engine}`
   on the device itself, with the TensorRT that its DeepStream links to, in this folder.
2. Put the element behind the face detector (gie-unique-id {settings.primary_id}) and a tracker:
   `... ! nvinfer config-file-path=detector.txt ! nvtracker ... ! nvinfer config-file-path={CONFIG} ! ...`
   or name the file as `config-file` in a `[secondary-gie0]` group of deepstream-app.
3. Read the embedding, {manifest.embedding_size} values of float32 and unit length, from each object: in its
   `obj_user_meta_list`, the entry of type NVDSINFER_TENSOR_OUTPUT_META with `unique_id` {settings.primary_id + 1},
   layer `embedding`. The score of two faces is the sum of their products.
4. Enrol people through this pipeline too. Embeddings of aligned faces, such as `edgeface enroll` makes, are of
   another kind than those of box crops.

Model {bundle.model_id}, input {manifest.input.height}x{manifest.input.width} {manifest.input.color}.
Weights: {_line(manifest.weights.get("licence") or "licence not stated")}.
"""


def _line(text: object) -> str:
    """One line, whatever a manifest holds: a second one would be a setting."""
    return " ".join(str(text).split())
