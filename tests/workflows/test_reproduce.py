"""A recipe is read, run once, resumed, shared, and set beside the paper's numbers."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeface.cli.main import app
from edgeface.workflows import reproduce as module
from edgeface.workflows.recipe import HOW, fill, find_recipe, list_recipes, placeholders, read_recipe
from edgeface.workflows.reproduce import Settings, reproduce
from edgeface.workflows.reproduce_report import _figure, compare_rows, summary, write_reproduction
from edgeface.workflows.turns import share_out, turn
from edgeface_calibration.bootstrap import Interval
from edgeface_runtime.errors import InputError

TOML = """
title = "Faces"
paper = "Somebody, Table 9"
differs = "it is a test"
seeds = [0, 1]
[scale.small]
people = "3"
[scale.large]
people = "9"
[[step]]
name = "faces"
run = "data synthetic {out} --people {people} --seed {seed}"
[[step]]
name = "parts"
run = "data split {faces} {out}"
[cell]
run = "data split {folder} {faces}-{word}"
value = "pictures.{part}"
[[column]]
label = "training"
part = "train"
unit = "pictures"
[[column]]
label = "training, less than all"
part = "train"
against = "all"
how = "drop"
factor = 100.0
[[row]]
label = "all"
folder = "{faces}"
word = "a"
[[row]]
label = "part"
folder = "{parts}/train"
word = "b"
[[paper_row]]
row = "all"
values = ["7", ""]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    return path


class Fake:
    """Stands for the edgeface command: notes what is asked and answers with counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[str]] = []
        monkeypatch.setattr(module, "_edgeface", self.run)

    def run(self, words: list[str], stdout: int | None) -> str:
        self.asked.append(list(words))
        if stdout is None:
            folder = Path(words[2] if words[1] == "synthetic" else words[3])
            folder.mkdir(parents=True)
            return ""
        assert words[-1] == "--json" and stdout == subprocess.PIPE
        return json.dumps({"pictures": {"train": 4 if "-a" in words[3] else 3}})


def test_every_recipe_that_comes_along_can_be_planned() -> None:
    recipes = list_recipes()
    assert {"table-2", "table-3", "figure-7", "mask-gain", "from-masks", "from-patterns"} <= {r.name for r in recipes}
    assert {"frozen-trunk", "landmark-regions"} <= {r.name for r in recipes}
    for recipe in recipes:
        assert set(recipe.scales) == {"small", "paper"}
        for scale in recipe.scales:
            settings = Settings(scale, Path("/"), Path("work"))
            values = module._values(recipe, settings)
            for seed in recipe.seeds:
                steps = module._steps(recipe, settings, values, seed)
                for row in recipe.rows:
                    module._cells(recipe, row, seed, steps, values, settings)


def plan(name: str, scale: str) -> tuple[dict[str, module._Step], dict[str, list[module._Asked]]]:
    """Steps by name and cells by row, as they would be run."""
    recipe, settings = find_recipe(name), Settings(scale, Path("/"), Path("work"))
    values = module._values(recipe, settings)
    steps = module._steps(recipe, settings, values, 0)
    return steps, {row.label: module._cells(recipe, row, 0, steps, values, settings) for row in recipe.rows}


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", ["table-3", "figure-7"])
def test_the_growth_of_error_and_speed_is_measured_on_the_networks_of_table_2(name: str, scale: str) -> None:
    steps, rows = plan(name, scale)
    other, shared = plan("table-2", scale)
    assert {step: steps[step].folder for step in other} == {step: entry.folder for step, entry in other.items()}
    assert steps["clean"].folder == plan("mask-gain", scale)[0]["clean"].folder
    assert steps.keys() - other.keys() == {"r0-mixture", "baseline-1-bundle", "baseline-2-bundle"} | {
        f"r{ratio}-bundle" for ratio in range(6)
    }
    for label, cells in shared.items():  # nothing of table 2 is evaluated again
        assert {cell.file for cell in cells} <= {cell.file for cell in rows[label]}
    # baseline 2 is R = 0 but for the mask
    mixture, masked = (list(steps[step].words) for step in ("r0-mixture", "r0-masked"))
    for word in ("--mask", "decoder", "--patterns", "5"):
        masked.remove(word)
    assert mixture[:4] + mixture[5:] == masked[:4] + masked[5:]  # all but --out


@pytest.mark.parametrize("name", ["table-3", "figure-7"])
def test_every_row_reads_its_own_network_s_speed_from_one_measurement(name: str) -> None:
    steps, rows = plan(name, "small")
    exported = {word: step.words[1] for step in steps.values() for word in step.words if word.endswith(".bundle")}
    speeds = set()
    for cells in rows.values():
        (model,) = {cell.words[1] for cell in cells if cell.words[0] == "evaluate"}
        for cell in cells:
            if cell.words[0] == "benchmark":
                speeds.add(cell.file)
                key, number, *_ = cell.value.split(".")
                assert key == "rows" and exported[cell.words[1 + int(number)]] == model
    assert len(rows) == 8 and len(speeds) == 1


def test_cells_and_their_differences(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch)
    found = reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    header, rows = summary(found)
    assert header == ["", "training, pictures", "training, less than all"]
    assert rows == [
        ["all", "4.00 (4.00 to 4.00)", "0.00 (0.00 to 0.00)"],
        ["part", "3.00 (3.00 to 3.00)", "100.00 (100.00 to 100.00)"],
        ["paper: all", "7", ""],
    ]


def test_runs_once_and_resumes(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch)
    settings = Settings("small", None, tmp_path / "work")
    reproduce(read_recipe(recipe), settings)
    # 2 seeds of 2 steps; 2 rows of 2 seeds, both columns from one answer
    assert len(fake.asked) == 4 + 4
    reproduce(read_recipe(recipe), settings)
    assert len(fake.asked) == 8
    mark = next((tmp_path / "work").glob("parts-*")) / "step.json"
    mark.unlink()  # as if it had been stopped there
    reproduce(read_recipe(recipe), settings)
    assert [words[1] for words in fake.asked[8:]] == ["split"]


def test_a_path_in_place_of_a_step_leaves_out_what_only_it_needed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch)
    recipe.write_text(
        TOML.replace('people = "3"', 'people = "3"\nstart = "{parts}/train"').replace(
            '"{parts}/train"\nw', '"{start}"\nw'
        )
    )
    mine = {"start": str(tmp_path / "mine")}
    reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work", mine))
    made = {words[1] for words in fake.asked if words[-1] != "--json"}
    assert made == {"synthetic"}, "nothing builds on the step `parts` any more"
    assert any(str(tmp_path / "mine") in words for words in fake.asked)
    reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    assert {words[1] for words in fake.asked if words[-1] != "--json"} == {"synthetic", "split"}


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_ways_of_pruning_differ_in_how_they_prune_and_see_as_many_faces(scale: str) -> None:
    steps, rows = plan("pruning-methods", scale)
    default = steps["l1-recovered"].words
    faces = default[default.index("--faces") + 1]
    for name, step in steps.items():
        words = list(step.words)
        if name.endswith("-recovered") and name not in ("first-recovered", "second-recovered"):
            assert words[words.index("--faces") + 1] == faces
            start = words[words.index("--from") + 1]
            assert Path(start).parent == steps[name.replace("recovered", "pruned")].folder
    halves = [steps[f"{word}-recovered"].words for word in ("first", "second")]
    assert sum(int(words[words.index("--faces") + 1]) for words in halves) == int(faces)
    ways = [steps[name].words for name in steps if name.endswith("-pruned") and name != "second-pruned"]
    assert {words[1] for words in ways} == {str(steps["dense"].folder / "model.safetensors")}
    recovered = {cell.words[1] for cells in rows.values() for cell in cells if cell.words[0] == "inspect"}
    assert len(recovered) == len(rows) == 13


def test_two_runs_at_once_do_what_they_share_once(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def command(words: Sequence[str], stdout: int | None) -> str:
        ran.append(" ".join(words))
        time.sleep(0.05)
        if stdout:
            return json.dumps({"pictures": {"train": len(words)}})
        Path(words[2] if words[1] == "synthetic" else words[3]).mkdir(parents=True)
        return ""

    monkeypatch.setattr(module, "_edgeface", command)
    found, said = [], []

    def run() -> None:
        found.append(reproduce(read_recipe(recipe), Settings(work=tmp_path / "work"), said.append))

    both = [threading.Thread(target=run) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(30)
    assert len(ran) == len(set(ran)) == 2 * (2 + 2), "two steps and two cells for each of two seeds"
    assert found[0].cells == found[1].cells and len(found[0].cells) == 8
    assert len({line for line in said if line.startswith("cell ")}) == 8


def test_a_change_redoes_what_follows_and_nothing_else(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch)
    reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    recipe.write_text(TOML.replace('"data split {faces} {out}"', '"data split {faces} {out} --fractions .8,.1,.1"'))
    before = len(fake.asked)
    reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    redone = fake.asked[before:]
    assert not any("synthetic" in words for words in redone)
    assert len(redone) == 2 + 2  # the split of both seeds and the row that uses it


def test_a_cell_may_keep_codes_in_one_folder_which_does_not_name_it(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.write_text(TOML.replace("{faces}-{word}", "{faces}-{word} --cache {cache}"))
    fake = Fake(monkeypatch)
    for work in ("one place", "another"):
        reproduce(read_recipe(recipe), Settings("small", None, tmp_path / work))
        cells = [words for words in fake.asked if words[-1] == "--json"][-4:]
        assert [words[words.index("--cache") + 1] for words in cells] == [str(tmp_path / work / "cache")] * 4
    one, other = ({file.name for file in (tmp_path / work / "cells").iterdir()} for work in ("one place", "another"))
    assert one == other and len(one) == 4


def test_every_recipe_that_embeds_faces_keeps_them() -> None:
    for name in (
        "table-2",
        "table-3",
        "figure-7",
        "mask-gain",
        "from-masks",
        "from-patterns",
        "frozen-trunk",
        "landmark-regions",
        "pruning-methods",
    ):
        for column in find_recipe(name).columns:
            assert not column.run.startswith("evaluate ") or "--cache {cache}" in column.run


def test_report(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch)
    found = reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    paths = write_reproduction(found, [], tmp_path / "results", "edgeface reproduce mine")
    assert [path.name for path in paths] == ["mine.json", "mine.md", "mine.png"]
    data = json.loads(paths[0].read_text())
    assert len(data["cells"]) == 8 and data["scale"] == "small" and data["values"] == {"people": "3"}
    text = paths[1].read_text()
    assert "| paper: all | 7 |  |" in text and "it is a test" in text and "edgeface reproduce mine" in text
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_another_scale_or_value_never_replaces_the_result(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch)
    stems = set()
    for settings in (
        Settings("small", None, tmp_path / "work"),
        Settings("large", None, tmp_path / "work"),
        Settings("small", None, tmp_path / "work", {"people": "4"}),
    ):
        paths = write_reproduction(reproduce(read_recipe(recipe), settings), [], tmp_path / "results", "words")
        stems |= {path.stem for path in paths}
    assert stems == {"mine", "mine-large", "mine-changed"}
    assert "with people = `4`" in (tmp_path / "results" / "mine-changed.md").read_text()


def test_a_curve_takes_its_places_from_another_column(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch)
    text = TOML.replace("seeds", 'plot = "xy"\nseeds').replace('how = "drop"', 'how = "drop"\nx = "training"')
    recipe.write_text(text)
    found = reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    (panel,) = _figure(found).axes
    assert panel.get_xlabel() == "training, pictures"
    curves = {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}
    assert curves["training, less than all"] == [[4, 0], [3, 100]]
    # with an axis of growth, the row it is measured against is the origin and no point
    recipe.write_text(text.replace('unit = "pictures"', 'against = "all"\nhow = "faster"'))
    (panel,) = _figure(reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))).axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}
    assert curves["training, less than all"] == [[pytest.approx(1 / 3), 100]]
    for damage in ('x = "nothing"', ""):
        recipe.write_text(text.replace('x = "training"', damage))
        with pytest.raises(InputError, match="x names no column: nothing" if damage else "xy with columns"):
            read_recipe(recipe)


def test_the_interval_of_a_column_of_drops_is_one_of_drops(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch)
    recipe.write_text(TOML + '[[compare]]\na = "part"\nb = "all"\n')
    found = reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    kept = replace(found, cells=tuple(replace(cell, scores=Path("a.npz")) for cell in found.cells))
    interval = Interval(-1.0, -3.0, 0.5, 0.95, 1000, 0)
    compare = importlib.import_module("edgeface.evaluation.compare")  # the package has a function of that name
    monkeypatch.setattr(compare, "paired_difference", lambda a, b: interval)
    plain, drop = compare_rows(kept)
    assert (plain.value, plain.low, plain.high) == (-1, -3, 0.5)
    assert (drop.value, drop.low, drop.high) == (100, -50, 300)


def test_placeholders_hold_placeholders() -> None:
    assert placeholders("{a} and {b}") == {"a", "b"}
    assert fill("{a}!", {"a": "{b}{b}", "b": "x"}, "here") == "xx!"
    with pytest.raises(InputError, match=r"here: \{c\} has no value"):
        fill("{c}", {}, "here")
    with pytest.raises(InputError, match="circle"):
        fill("{a}", {"a": "{a}"}, "here")


def test_ways_to_compare() -> None:
    assert HOW["minus"](3, 1) == 2 and HOW["drop"](3, 5) == 2 and HOW["faster"](2, 3) == 0.5


def test_refusals(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scale 'huge': choose small, large"):
        reproduce(read_recipe(recipe), Settings("huge"))
    with pytest.raises(InputError, match="--set x: mine has no such value, it has people"):
        reproduce(read_recipe(recipe), Settings("small", set_values={"x": "1"}))
    with pytest.raises(InputError, match="choose one of"):
        find_recipe("nothing")
    with pytest.raises(InputError, match="needs data sets"):
        reproduce(find_recipe("table-2"), Settings("small"))
    for text, words in (("title = ", "not a recipe"), ('title = "x"', "not a recipe")):
        recipe.write_text(text)
        with pytest.raises(InputError, match=words):
            read_recipe(recipe)
    recipe.write_text(TOML.replace('against = "all"', 'against = "nobody"'))
    with pytest.raises(InputError, match="no row 'nobody'"):
        read_recipe(recipe)


def test_a_failed_command_stops_the_run(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(TOML.replace("--people {people}", "--people none"))
    with pytest.raises(InputError, match="ended with code 2; once that is mended, reproduce goes on here"):
        reproduce(read_recipe(recipe), Settings("small", None, tmp_path / "work"))
    assert not list((tmp_path / "work").rglob("step.json"))


def test_stopped_it_says_that_the_same_command_goes_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(words: list[str], stdout: int | None) -> str:
        sys.stderr.write("stopped after 0 finished epochs; go on with the same command and --resume\n")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_edgeface", stopped)
    command = ["reproduce", str(recipe), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "results")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 130
    last = done.stderr.splitlines()[-1]
    assert last == f"stopped: the same edgeface reproduce {recipe} goes on from here; it gives --resume by itself"


def test_sigterm_stops_the_command_inside_too(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(TOML.replace('people = "3"', 'people = "9000"'))
    work = tmp_path / "work"
    words = [sys.executable, "-m", "edgeface", "reproduce", str(recipe), "--work", str(work)]
    run = subprocess.Popen(
        [*words, "--out", str(tmp_path / "results")], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 120
    while not list(work.glob("faces-*/*")) and time.monotonic() < until:
        time.sleep(0.1)
    run.terminate()  # as `timeout` does: the one process, not its group
    assert "goes on from here" in run.communicate(timeout=60)[1]
    assert run.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def test_mistakes_in_a_recipe_are_said_before_hours_of_work(recipe: Path, tmp_path: Path) -> None:
    settings = Settings("small", None, tmp_path / "work")
    for old, new, words in (
        ("factor = 100.0", 'factor = "x"', "column training, less than all: factor must be a number, got 'x'"),
        ("seeds = [0, 1]", 'seeds = ["x"]', "is not a recipe: invalid literal"),
    ):
        recipe.write_text(TOML.replace(old, new))
        with pytest.raises(InputError, match=words):
            read_recipe(recipe)
    recipe.write_text(TOML)
    unclosed = replace(settings, set_values={"people": "'3"})
    with pytest.raises(InputError, match=r"step faces: No closing quotation in .*: mend the recipe or --set"):
        reproduce(read_recipe(recipe), unclosed)
    assert not settings.work.exists()
    recipe.write_text(TOML.replace('value = "pictures.{part}"', 'value = "picture.{part}"'))
    with pytest.raises(InputError, match=r"row all, column training: the command's JSON has no picture\.train, but "):
        reproduce(read_recipe(recipe), settings)
    assert len(list((settings.work / "cells").glob("*.json"))) == 1


def test_the_recipe_in_the_docs_can_be_read_and_planned(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "reproduce.md"
    text = page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    recipe = read_recipe(path)
    assert [row.label for row in recipe.rows] == ["dense"]
    with pytest.raises(InputError, match="needs data sets: give --data"):
        reproduce(recipe, Settings("small", None, tmp_path / "work"))
    command = " ".join(recipe.steps[0].run.split()[:2])
    assert command == "train --data"


def test_what_is_busy_or_not_ready_comes_later(tmp_path: Path) -> None:
    done: list[int] = []
    freed = threading.Event()

    def hold() -> None:
        with turn(tmp_path / "1") as mine:
            assert mine
            held.set()
            freed.wait(30)

    held, said = threading.Event(), []
    other = threading.Thread(target=hold)
    other.start()
    held.wait(30)

    def say(line: str) -> None:
        said.append(line)
        freed.set()

    # 1 is busy until somebody waits for it, 3 needs 1.
    share_out([1, 2, 3, 4], lambda n: tmp_path / str(n), done.append, lambda n: n != 3 or 1 in done, say)
    other.join(30)
    assert done == [2, 4, 1, 3] and len(said) == 1


def test_a_step_needs_the_steps_whose_folders_it_names() -> None:
    recipe = find_recipe("mask-gain")
    settings = Settings("small", Path())
    steps = module._steps(recipe, settings, module._values(recipe, settings), 0)
    needs = {name: {folder.name.split("-")[0] for folder in step.needs} for name, step in steps.items()}
    assert needs == {"set": set(), "clean": {"set"}, "mixture": {"set", "clean"}, "masked": {"set", "clean"}}


def test_a_series_is_a_curve_and_what_has_none_a_level(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch)
    text = TOML.replace("seeds", 'plot = "series"\nseeds')
    with pytest.raises(InputError, match="plot series goes with rows that have a line"):
        recipe.write_text(text)
        read_recipe(recipe)
    labels = [row.label for row in read_recipe(_written(recipe, TOML)).rows]
    text = text.replace(f'label = "{labels[0]}"', f'label = "{labels[0]}"\nline = "networks"\nplace = ".5"', 1)
    read = read_recipe(_written(recipe, text))
    assert (read.rows[0].line, read.rows[0].place) == ("networks", ".5") and "line" not in read.rows[0].values
    found = reproduce(read, Settings("small", None, tmp_path / "work"))
    panels = _figure(found).axes
    assert [panel.get_title() for panel in panels] == [column.label for column in read.columns]
    for panel, column in zip(panels, read.columns, strict=True):
        drawn = {line.get_label(): list(line.get_ydata()) for line in panel.get_lines()}
        expected = [cell.value for cell in found.cells if (cell.row, cell.column) == (labels[0], column.label)]
        assert drawn["networks"] == pytest.approx([sum(expected) / len(expected)])
        assert set(drawn) == {"networks", *labels[1:]}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
