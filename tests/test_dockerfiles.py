"""The Dockerfiles name what is there: extras of the package, files of the checkout that the build may see."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def _instructions(file: Path) -> list[str]:
    """Instructions of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines() if entry.strip()]


def test_there_is_one_for_devices_and_one_for_training() -> None:
    assert [file.name for file in DOCKERFILES] == ["device.Dockerfile", "training.Dockerfile"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_extras_and_files_are_there(file: Path) -> None:
    instructions = _instructions(file)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name
        for entry in instructions
        for names in re.findall(r"/src\[([\w,]+)\]", entry)
        for name in names.split(",")
    }
    named |= {entry.split("=")[1] for entry in instructions if entry.startswith("ARG EXTRAS=")}
    assert named and named <= set(extras)
    for constraints in re.findall(r"constraints[\w.-]*\.txt", " ".join(instructions)):
        assert (ROOT / constraints).is_file()
    assert 'ENTRYPOINT ["edgeface"]' in instructions


def test_the_build_sees_all_that_the_package_is_made_of_and_nothing_else() -> None:
    seen = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {entry.split("/")[0] for entry in (*wheel["packages"], *wheel["force-include"])}
    assert needed | {"pyproject.toml", "README.md", "LICENSE", "constraints*.txt"} == set(seen)
