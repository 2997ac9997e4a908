"""edgeface stream: its lines, its video, and an end that always comes."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Cli = Callable[..., Any]
LOOK = ("--threshold", ".8", "--threads", "1")


@pytest.fixture(scope="session")
def film(chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a video of so many pictures: the chain's photograph, whose face is enrolled as Ann, moving."""
    photo = cv2.imread(str(chain.photo))
    folder = tmp_path_factory.mktemp("film")

    def make(count: int) -> Path:
        path = folder / f"{count}.avi"
        if not path.exists():
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 256))
            for n in range(count):
                left = 60 + round(20 * np.sin(n / 10))
                writer.write(np.ascontiguousarray(photo[:256, left : left + 320]))
            writer.release()
        return path

    return make


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def pictures(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    return count


def test_json_is_one_object_a_line(cli: Cli, chain: Any, film: Any) -> None:
    done = cli("stream", chain.bundle, film(12), "--gallery", chain.gallery, *LOOK, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    found = lines(done.out)
    assert [line["type"] for line in found] == ["event", *["frame"] * 12, "summary"]
    came, *frames, summary = found
    assert (came["kind"], came["name"], came["track"], came["at_s"]) == ("came", "Ann", 1, 0.0)
    assert [frame["frame"] for frame in frames] == list(range(12))
    for frame in frames:
        (face,) = frame["faces"]
        assert (face["name"], face["track"], face["embedded"]) == ("Ann", 1, frame["frame"] == 0)
        assert face["score"] > 0.8 and len(face["box"]) == 4 and len(face["landmarks"]) == 5
        assert {"decode", "track", "whole"} <= set(frame["latency_ms"])
    assert (summary["read"], summary["handled"], summary["dropped"]) == (12, 12, 0)
    assert (summary["embeddings"], summary["saved"], summary["detections"]) == (1, 11, 3)
    assert summary["stages"]["detect"]["p99_ms"] >= summary["stages"]["detect"]["p50_ms"] > 0
    assert summary["backend"]["provider"] == "CPUExecutionProvider"


def test_people_read_who_came(cli: Cli, chain: Any, film: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.avi"
    look = ("stream", chain.bundle, film(12), "--gallery", chain.gallery, *LOOK)
    done = cli(*look, "--save", out, "--max-frames", 7)
    assert done.code == 0
    assert "0.0 s  Ann came (" in done.out
    assert "7 pictures in " in done.out and "1 embeddings made, 6 saved by tracking, 2 pictures searched" in done.out
    assert all(stage in done.out for stage in ("decode", "detect", "track", "align", "embed", "match", "whole"))
    assert f"wrote {out}" in done.err
    assert pictures(out) == 7
    again = cli(*look, "--save", out, "--max-frames", 2)
    assert (again.code, again.out) == (2, "") and "choose another --save, or replace it with --force" in again.err
    assert pictures(out) == 7
    assert cli(*look, "--save", out, "--max-frames", 2, "--force").code == 0
    assert pictures(out) == 2


def test_the_source_is_not_written_over(cli: Cli, chain: Any, film: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.avi"
    out.write_bytes(film(12).read_bytes())
    done = cli("stream", chain.bundle, out, "--gallery", chain.gallery, *LOOK, "--save", out, "--force")
    assert (done.code, done.out) == (2, "") and "is the video that is read: choose another name" in done.err
    assert out.read_bytes() == film(12).read_bytes()


def test_a_full_disk_ends_the_video_and_not_the_stream(
    cli: Cli, chain: Any, film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said at once, also when quiet, and by the exit code."""
    free = iter([1 << 30] * 5 + [1 << 20])
    monkeypatch.setattr("edgeface_runtime.stream.video._free_bytes", lambda folder: next(free))
    out = tmp_path / "out.avi"
    done = cli(
        "stream", chain.bundle, film(12), "--gallery", chain.gallery, *LOOK, "--save", out, "--json", "--quiet"
    )
    assert done.code == 2
    assert lines(done.out)[-1]["handled"] == 12 and pictures(out) == 4
    words = "the disk is nearly full: the video ends after 4 pictures"
    assert done.err.splitlines() == [
        f"warning: {words}; the stream goes on",
        f"edgeface: --save {out}: {words}: make room",
    ]


def test_an_error_before_the_first_picture_stands_alone(cli: Cli, chain: Any, film: Any) -> None:
    done = cli("stream", chain.bundle, film(12), "--gallery", chain.gallery, *LOOK, "--min-face", "5")
    assert (done.code, done.out) == (2, "") and "--min-face must be at least 12 pixels" in done.err


def test_a_folder_is_shown_by_its_pictures(cli: Cli, chain: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(chain.photo.read_bytes())
    (tmp_path / "b.png").write_text("no picture")
    done = cli("stream", chain.bundle, tmp_path, "--gallery", chain.gallery, *LOOK)
    assert done.code == 0
    assert f"{tmp_path / 'a.png'}  Ann came (" in done.out
    assert "not readable: 1" in done.out
    assert "b.png is not a JPEG" in done.err
    (tmp_path / "a.png").unlink()
    done = cli("stream", chain.bundle, tmp_path, "--gallery", chain.gallery, *LOOK, "--quiet")
    assert (done.code, done.out) == (2, "") and "holds no picture that can be read" in done.err


def test_no_camera_and_no_screen_are_one_line(
    cli: Cli, chain: Any, film: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("stream", chain.bundle, "97", "--gallery", chain.gallery, *LOOK)
    assert (done.code, done.out) == (3, "")
    assert done.err == "edgeface: camera 97 cannot be opened: see that it is there, and that nobody else has it\n"
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    done = cli("stream", chain.bundle, film(12), "--gallery", chain.gallery, *LOOK, "--show")
    assert (done.code, done.out) == (3, "") and done.err.startswith("edgeface: --show needs a screen")


def start(chain: Any, source: Path, *more: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "edgeface", "stream", chain.bundle, source, "--gallery", chain.gallery, *LOOK]
    return subprocess.Popen(
        [str(word) for word in (*command, *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("kind", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGHUP, 1), (signal.SIGTERM, 20)]
)
def test_a_signal_ends_it_cleanly(chain: Any, film: Any, tmp_path: Path, kind: signal.Signals, times: int) -> None:
    """`timeout` sends each signal twice; a terminal that is lost sends SIGHUP."""
    out = tmp_path / "out.avi"
    with start(chain, film(1500), "--realtime", "--json", "--save", out) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            first = [json.loads(child.stdout.readline()) for _ in range(5)]
            for _ in range(times):
                child.send_signal(kind)
                time.sleep(0.002)
            rest, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    assert child.returncode == 130
    assert errors.splitlines()[0] == f"wrote {out}"
    found = [*first, *lines(rest)]
    assert [line["type"] for line in found].count("summary") == 1 and found[-1]["type"] == "summary"
    assert 4 <= found[-1]["handled"] < 1500
    assert 1 <= pictures(out) < 1500
    assert [path.name for path in tmp_path.iterdir()] == ["out.avi"]


def test_a_terminal_that_is_lost_ends_it_cleanly(chain: Any, film: Any, tmp_path: Path) -> None:
    """As when an ssh connection breaks: SIGHUP, and no line can be printed any more."""
    out = tmp_path / "out.avi"
    command = [
        sys.executable,
        "-m",
        "edgeface",
        "stream",
        chain.bundle,
        film(1500),
        "--gallery",
        chain.gallery,
        *LOOK,
    ]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [str(word) for word in (*command, "--realtime", "--save", out)])
    try:
        seen = b""
        while b"Ann came" not in seen:
            seen += os.read(terminal, 1000)
        time.sleep(0.5)
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert 1 <= pictures(out) < 1500 and [path.name for path in tmp_path.iterdir()] == ["out.avi"]


def test_a_reader_that_has_stopped_reading_does_not_keep_the_end(chain: Any, film: Any) -> None:
    """The pipe is full, so the command waits in a write; a signal ends it all the same."""
    with start(chain, film(1500), "--json") as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 4096)
            deadline, before = time.monotonic() + 60, -1
            while (waiting := unread(child.stdout.fileno())) == 0 or waiting != before:
                before = waiting
                time.sleep(0.5)
                assert time.monotonic() < deadline
            child.terminate()
            assert child.wait(30) == 130
            errors = child.stderr.read()
        finally:
            child.kill()
    assert "nobody reads the output any more: the summary is left out" in errors


def test_a_reader_that_goes_away_ends_it_without_an_error(chain: Any, film: Any) -> None:
    with start(chain, film(1500), "--json") as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(60) == 0
            assert child.stderr.read() == ""
        finally:
            child.kill()


def unread(handle: int) -> int:
    """Bytes that wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(handle, termios.FIONREAD, count)
    return count[0]


def test_a_source_that_does_not_answer_does_not_keep_the_end(chain: Any, tmp_path: Path) -> None:
    """A pipe into which nobody writes: reading it waits for ever."""
    pipe = tmp_path / "pipe.avi"
    os.mkfifo(pipe)
    with start(chain, pipe) as child:
        try:
            deadline, writer = time.monotonic() + 60, -1
            while writer < 0:
                with contextlib.suppress(OSError):  # until the command has opened it, too
                    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                time.sleep(0.1)
                assert time.monotonic() < deadline and child.poll() is None
            child.terminate()
            _, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    os.close(writer)
    assert child.returncode == 130
    assert errors.splitlines()[0] == f"{pipe} does not answer: it was left behind"


def test_the_page_shows_what_is_streamed(chain: Any, film: Any) -> None:
    """Address and token come on stderr; the state behind them is the stream's, the picture a JPEG of its size."""
    with start(chain, film(1500), "--realtime", "--serve", "127.0.0.1:0", "--quiet") as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            said = child.stderr.readline()
            assert said.startswith("watch it at http://127.0.0.1:")
            page, token = said.split()[-1].split("/?")
            assert "Ann came" in child.stdout.readline()
            seen, picture = {}, b""
            deadline = time.monotonic() + 60
            while not (picture and seen.get("faces")):
                picture = urllib.request.urlopen(f"{page}/frame.jpg?{token}", timeout=30).read()
                data = json.load(urllib.request.urlopen(f"{page}/state.json?{token}", timeout=30))
                seen = data["state"]
                assert time.monotonic() < deadline
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{page}/state.json", timeout=30)
            child.terminate()
            child.communicate(timeout=30)
        finally:
            child.kill()
    assert child.returncode == 130
    assert [face["name"] for face in seen["faces"]] == ["Ann"]
    assert {"decode", "detect", "track", "whole"} <= set(seen["stages"]) and seen["fps"] > 0 and seen["drops"] >= 0
    assert data["events"][0]["kind"] == "came"
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (256, 320, 3)
