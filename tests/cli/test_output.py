"""Words on the terminal: literal, never cut off, and nothing a terminal would obey."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edgeface.cli.claim import claim_file, is_json
from edgeface.cli.output import Output, printable
from edgeface_runtime.errors import InputError


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Output(False, False).table("g[/b].db", ("na[red]me", "n"), [("Bob [work]", 1), ("x[/b]", 2)])
    shown = capsys.readouterr().out
    for text in ("g[/b].db", "na[red]me", "Bob [work]", "x[/b]"):
        assert text in shown


def test_escape_codes_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("e\x1b[31m.jpg") == "e\\x1b[31m.jpg"
    assert printable("Zoë Żółć 王") == "Zoë Żółć 王"
    output = Output(False, False)
    output.line("a\x1b[2J")
    output.note("b\x1b[2J")
    output.table("", ("c",), [("d\x1b[2J",)])
    assert "\x1b[2J" not in "".join(capsys.readouterr())


def test_a_wide_table_is_whole_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [f"{'v' * 30}{number}" for number in range(12)]
    Output(False, False).table("wide", [f"column{number}" for number in range(12)], [cells])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in cells)


def test_a_narrow_terminal_gets_one_field_a_line() -> None:
    """In a real pseudo-terminal of 40 columns."""
    call = "Output(False, False).table('t', ['first', 'second'], [['a' * 30, 'b' * 30]])"
    script = f"from edgeface.cli.output import Output; {call}"
    main, child = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stdout=child, env={**os.environ, "COLUMNS": "40"}, check=True)
    os.close(child)
    shown = os.read(main, 65536).decode()
    os.close(main)
    lines = [line.strip() for line in shown.splitlines()]
    assert any(line.startswith("first:") and line.endswith("a" * 30) for line in lines)
    assert any(line.startswith("second:") and line.endswith("b" * 30) for line in lines)


def test_nothing_that_is_there_is_lost(tmp_path: Path) -> None:
    own, photo = tmp_path / "own.json", tmp_path / "photo.jpg"
    own.write_text("{}")
    photo.write_bytes(b"\xff\xd8")
    claim_file(tmp_path / "new" / "deep.json", "JSON file", is_json, force=False)
    assert not (tmp_path / "new").exists()
    claim_file(own, "JSON file", is_json, force=True)
    with pytest.raises(InputError, match="--force"):
        claim_file(own, "JSON file", is_json, force=False)
    for force in (False, True):
        with pytest.raises(InputError, match="no JSON file"):
            claim_file(photo, "JSON file", is_json, force)
    with pytest.raises(InputError, match="is a folder"):
        claim_file(tmp_path, "JSON file", is_json, force=True)
    with pytest.raises(InputError, match="is a file, not a folder"):
        claim_file(photo / "x" / "y.json", "JSON file", is_json, force=True)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeface", "gallery", "list", "--help"]
    done = subprocess.run(
        f"{' '.join(command)} | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr


def test_closed_standard_output_is_one_line() -> None:
    command = f"{sys.executable} -m edgeface --help >&-"
    done = subprocess.run(command, shell=True, executable="/bin/bash", capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "edgeface: standard output is closed\n"
