"""A teacher's answers that are kept are those it gives, and are taken where the views are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeface.data.synthetic import synth_face
from edgeface.distillation import CachedTeacher, DistillSettings, Teacher, distill, draw_covers
from edgeface.distillation.answers import FORMAT
from edgeface.distillation.views import make_views
from edgeface.models import build_spec, load_checkpoint
from edgeface.models.digest import weights_digest
from edgeface_runtime.errors import InputError

SETTINGS = DistillSettings(faces=48, batch=12, covers=4, held_out=0.1, precision="fp32", threads=1)
SPEC = build_spec("iresnet18", 0.125, embedding=32)


def test_covered_and_not_a_seed_draws_the_same_clean_views() -> None:
    faces = torch.from_numpy(np.stack([synth_face(number, 0, 0) for number in range(4)]))
    covered = replace(SETTINGS, covered_part=0.5)
    one = make_views(faces, None, SETTINGS, torch.Generator().manual_seed(3))
    two = make_views(faces, draw_covers(4), covered, torch.Generator().manual_seed(3))
    assert torch.equal(one.clean, two.clean) and not torch.equal(two.clean, two.seen)


def test_another_student_is_taught_by_the_same_answers(people: Path, teacher: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = distill(SETTINGS, [people], teacher, tmp_path / "first", SPEC, cache=cache, quiet=True)
    assert len(list(cache.iterdir())) == 5, "four steps and the faces held out"
    assert first.cached == 9, "the three held out, measured after each of four rounds"
    covered = replace(SETTINGS, covered_part=0.5)
    second = distill(covered, [people], teacher, tmp_path / "second", SPEC, cache=cache, quiet=True)
    assert second.cached == 48 + 12 and len(list(cache.iterdir())) == 5
    without = distill(covered, [people], teacher, tmp_path / "without", SPEC, quiet=True)
    digests = {weights_digest(load_checkpoint(run.checkpoint).model) for run in (second, without)}
    assert len(digests) == 1 and second.away == without.away


def test_what_is_other_is_not_taken(teacher: Path, tmp_path: Path) -> None:
    model, cpu, views = load_checkpoint(teacher).model, torch.device("cpu"), torch.rand(3, 3, 112, 96) * 2 - 1
    first = CachedTeacher(Teacher(model, 32), tmp_path, cpu)
    answer = first(views)
    assert (first.taken, first.put) == (0, 3)
    longer = CachedTeacher(Teacher(model, 64), tmp_path, cpu)
    assert longer(views).shape == (3, 64) and longer.taken == 3, "the student's length is no part of an answer"
    again = CachedTeacher(Teacher(model, 32), tmp_path, cpu)
    nearly = views.clone()
    nearly[2, 2, 111, 95] += 1e-3
    again(nearly)
    assert (again.taken, again.put) == (0, 3)
    with torch.no_grad():
        next(iter(model.parameters()))[0] += 0.1
    other = CachedTeacher(Teacher(model, 32), tmp_path, cpu)
    assert not torch.equal(other(views), answer) and (other.taken, other.put) == (0, 3)


def answer_bytes(file: Path) -> bytes:
    with np.load(file) as data:
        values: bytes = data["answer"].tobytes()
    return values


@pytest.mark.parametrize("wrong", [b"", b"no numbers", "shape", "nan", "flip", "locked", "other"])
def test_a_damaged_answer_is_made_anew_and_said(teacher: Path, tmp_path: Path, wrong: bytes | str) -> None:
    model, views = load_checkpoint(teacher).model, torch.rand(2, 3, 112, 96) * 2 - 1
    answer = CachedTeacher(Teacher(model, 32), tmp_path, torch.device("cpu"))(views)
    (file,) = tmp_path.iterdir()
    if isinstance(wrong, bytes):
        file.write_bytes(wrong)
    elif wrong == "flip":
        data = bytearray(file.read_bytes())
        data[data.index(answer_bytes(file)[:16])] ^= 1
        file.write_bytes(data)
    elif wrong == "locked":  # the bit that calls an entry encrypted
        data = bytearray(file.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 1
        file.write_bytes(data)
    elif wrong == "other":
        np.savez(file, answer=np.zeros((2, 16), np.float32))
    else:
        shape = (2, 16) if wrong == "nan" else (3, 16)
        values = np.full(shape, np.nan if wrong == "nan" else 0, np.float32)
        np.savez(file, format=np.array(FORMAT), answer=values)
    kept = CachedTeacher(Teacher(model, 32), tmp_path, torch.device("cpu"))
    assert torch.equal(kept(views), answer) and kept.taken == 0 and "made anew" in kept.notes[0]
    assert torch.equal(kept(views), answer) and kept.taken == 2 and len(kept.notes) == 1


def test_a_folder_that_takes_nothing_is_refused_first(people: Path, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--cache .* is no folder"):
        distill(SETTINGS, [people], teacher, tmp_path / "run", SPEC, cache=tmp_path / "file", quiet=True)
    assert not (tmp_path / "run").exists()
