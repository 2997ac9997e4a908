"""Is detection at least 3 times as fast as facenet-pytorch's MTCNN? (one CPU thread each, minimum face 40, .6/.7/.7)

Both find boxes and landmarks in the same pictures of 640x480, in turn in one process, the order changing every time.
Run: `python benchmarks/detection_speed.py [PICTURES] [--facenet FOLDER]`; without PICTURES the astronaut of
scikit-image, cut in several ways. Pictures are scaled to cover 640x480 and cut to it. Exit code 1 where the ratio is
missed.

facenet-pytorch asks for an older torch, so it is read from a folder of its own. What it needs of torchvision is
replaced where that is missing; the time of the replacement is measured and taken off facenet-pytorch's.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import EdgefaceError, InputError
from edgeface_runtime.image import list_images, read_image
from edgeface_runtime.mtcnn_boxes import nms

GATE = 3.0
WIDTH, HEIGHT = 640, 480
MIN_FACE = 40
THRESHOLDS = (0.6, 0.7, 0.7)
DEFAULT_FOLDER = Path("build/facenet")

Pixels = NDArray[np.uint8]
Find = Callable[[Pixels], int]


class StandIn:
    """`torchvision.ops.boxes.batched_nms` for one picture, by numpy; knows how long it took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, boxes: Any, scores: Any, numbers: Any, threshold: float) -> Any:
        import torch

        start = time.perf_counter()
        kept = torch.from_numpy(nms(boxes.numpy(), scores.numpy(), threshold))
        self.seconds += time.perf_counter() - start
        return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="?", help="a folder of photographs")
    parser.add_argument("--facenet", type=Path, default=DEFAULT_FOLDER, help="where facenet-pytorch was put")
    parser.add_argument("--count", type=int, default=24, help="pictures, evenly drawn from the folder")
    parser.add_argument("--rounds", type=int, default=10, help="times that each picture is searched by each")
    options = parser.parse_args()
    try:
        pictures = load(options.pictures, options.count)
        standin = StandIn()
        theirs = open_facenet(options.facenet, standin)
        with Detector(min_face=MIN_FACE, thresholds=THRESHOLDS) as detector:
            return measure(pictures, lambda image: len(detector.detect(image)), theirs, standin, options.rounds)
    except EdgefaceError as exc:
        print(f"detection_speed: {exc}", file=sys.stderr)
        return exc.exit_code


def load(folder: Path | None, count: int) -> list[Pixels]:
    """Pictures of 640x480."""
    if folder is None:
        if importlib.util.find_spec("skimage") is None:
            raise InputError("give a folder of pictures, or install scikit-image: pip install 'edgeface[demo]'")
        import skimage.data

        whole = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
        images = [whole, whole[:384], whole[:, :400], whole[40:300, 80:400], np.tile(whole, (2, 2, 1))]
    else:
        paths = list_images(folder, recursive=True)
        images = [read_image(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    return [cover(image) for image in images]


def cover(image: Pixels) -> Pixels:
    """The middle of a picture at the scale at which it covers 640x480."""
    scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    size = max(WIDTH, round(image.shape[1] * scale)), max(HEIGHT, round(image.shape[0] * scale))
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size[1] - HEIGHT) // 2, (size[0] - WIDTH) // 2
    return np.ascontiguousarray(resized[top : top + HEIGHT, left : left + WIDTH], dtype=np.uint8)


def open_facenet(folder: Path, standin: StandIn) -> Find:
    """facenet-pytorch's detector, on one thread."""
    sys.path.insert(0, str(folder))
    if importlib.util.find_spec("facenet_pytorch") is None:
        raise InputError(f"needs it beside: pip install --no-deps --target {folder} facenet-pytorch")
    if importlib.util.find_spec("torch") is None:
        raise InputError("needs torch beside: pip install 'edgeface[train]'")
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if importlib.util.find_spec("requests") is None:  # as tqdm: for downloads, which are not asked for
        pretend("requests")
        pretend("requests.adapters", HTTPAdapter=object)
    if importlib.util.find_spec("tqdm") is None:
        pretend("tqdm")
        pretend("tqdm.auto", tqdm=iter)
    if importlib.util.find_spec("torchvision") is None:
        pretend("torchvision")
        functional = pretend(
            "torchvision.transforms.functional"
        )  # used to cut faces out, which is not asked for here
        pretend("torchvision.transforms", functional=functional)
        pretend("torchvision.ops")
        pretend("torchvision.ops.boxes", batched_nms=standin)
    from facenet_pytorch import MTCNN

    mtcnn = MTCNN(min_face_size=MIN_FACE, thresholds=list(THRESHOLDS), keep_all=True, device=torch.device("cpu"))

    def find(image: Pixels) -> int:
        boxes, _, _ = mtcnn.detect(np.ascontiguousarray(image[..., ::-1]), landmarks=True)
        return 0 if boxes is None else len(boxes)

    return find


def pretend(name: str, **content: object) -> types.ModuleType:
    """A module of that name for those who import it from now on."""
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(content)
    return module


def measure(pictures: list[Pixels], ours: Find, theirs: Find, standin: StandIn, rounds: int) -> int:
    """Time both in turn, print medians with quartiles, and say whether the gate is met."""
    took = np.zeros((rounds, len(pictures), 2))
    found = [0, 0]
    for image in pictures:
        found = [found[0] + ours(image), found[1] + theirs(image)]  # warms up, too
    for number in range(rounds):
        for place, image in enumerate(pictures):
            for which in (0, 1) if (number + place) % 2 else (1, 0):
                standin.seconds, start = 0.0, time.perf_counter()
                (ours, theirs)[which](image)
                took[number, place, which] = time.perf_counter() - start - standin.seconds
    low, middle, high = np.percentile(took * 1000, [25, 50, 75], axis=(0, 1))
    for which, name in enumerate(("edgeface", "facenet-pytorch")):
        spread = f"quartiles {low[which]:.1f} to {high[which]:.1f}"
        print(f"{name}: {middle[which]:.1f} ms ({spread}), {found[which]} faces in {len(pictures)} pictures")
    ratios = np.median(took[..., 1], axis=1) / np.median(took[..., 0], axis=1)
    ratio = float(np.median(took[..., 1]) / np.median(took[..., 0]))
    print(f"{ratio:.2f}x as fast ({ratios.min():.2f} to {ratios.max():.2f} by round), to reach {GATE:g}x")
    return int(ratio < GATE)


if __name__ == "__main__":
    sys.exit(main())
