"""The live page in a real browser: what a viewer sees, from the address with the token to the end of the stream.

With EDGEFACE_SCREENSHOT=docs/images/live.png it makes the documentation's picture.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface.data.synthetic import synth_face
from edgeface_runtime.serve import Limits, LivePage

PEOPLE = ("Ada Lovelace", "Grace Hopper", None)
SCORES = (0.71, 0.64, 0.18)
MARKUP = "<img src=x onerror='window.pwned=1'><script>window.pwned=2</script>"
STAGES = {
    "decode": (2.1, 3.4),
    "detect": (14.2, 21.8),
    "align": (0.4, 0.9),
    "embed": (16.3, 29.5),
    "match": (8.2, 9.9),
}
ACCENT, GREY = (196, 214, 87), (210, 210, 210)
LIVE = "edgeface live"


def scene() -> np.ndarray:
    """Drawn people with boxes and names, (720, 960, 3) uint8 BGR."""
    picture = np.full((720, 960, 3), (66, 58, 50), np.uint8)
    places = ((90, 90), (610, 70), (350, 390))
    for (left, top), identity, name, score in zip(places, (5, 7, 15), PEOPLE, SCORES, strict=True):
        right, bottom = left + 240, top + 280
        picture[top:bottom, left:right] = cv2.resize(
            synth_face(identity, 1), (240, 280), interpolation=cv2.INTER_CUBIC
        )
        colour = ACCENT if name else GREY
        cv2.rectangle(picture, (left, top), (right, bottom), colour, 3, cv2.LINE_AA)
        words = f"{name or 'unknown'} {score:.2f}"
        cv2.putText(picture, words, (left, top - 13), cv2.FONT_HERSHEY_SIMPLEX, 0.66, colour, 2, cv2.LINE_AA)
    return picture


class Feed:
    """A stream that shows one picture 25 times a second, until it is told to stall."""

    def __init__(self, picture: np.ndarray) -> None:
        self._jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        self._begun = time.time()
        self.names: tuple[str | None, ...] = PEOPLE
        self.stalled = False

    def state(self) -> dict[str, Any]:
        people = list(zip(self.names, SCORES, strict=True))
        events = [
            {"kind": "back", "message": "the camera is back after 2.0 s", "name": None, "wall_s": self._begun - 50},
            {"kind": "went", "message": "Grace Hopper went, seen for 9.4 s", "name": "Grace Hopper"},
            *({"kind": "came", "name": name, "score": score, "message": "came"} for name, score in people),
        ]
        return {
            "fps": 24.6,
            "drops": 3,
            "stages": {name: {"p50_ms": p50, "p99_ms": p99} for name, (p50, p99) in STAGES.items()},
            "faces": [{"track": track, "name": name, "score": score} for track, (name, score) in enumerate(people)],
            "events": [{"wall_s": self._begun, **event} for event in events],
        }

    @contextmanager
    def into(self, page: LivePage) -> Iterator[None]:
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.04):
                if not self.stalled:
                    page.publish(lambda: self._jpeg, self.state())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def texts(browser: Any, selector: str) -> list[str]:
    """The text of all elements of a CSS selector."""
    found: list[str] = browser.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(node => node.textContent)"
    )
    return found


@pytest.mark.slow
def test_a_viewer_sees_the_stream(browser: Any) -> None:
    picture = scene()
    feed = Feed(picture)
    with LivePage("127.0.0.1", 0, limits=Limits(wait_s=1.0)) as page:
        browser.resize(1280, 790)
        browser.call("Page.navigate", url=page.url)
        browser.wait("location.pathname === '/' && location.search === '' && document.readyState === 'complete'")
        assert browser.run("document.cookie") == "", "no script can read the token"
        browser.wait("document.title", lambda title: title.startswith("Waiting for the first picture"))
        assert page.wanted()

        with feed.into(page):
            browser.wait("document.title", lambda title: title == LIVE)
            browser.wait("document.querySelector('.has-picture') !== null")
            assert texts(browser, "#fps, #drops") == ["24.6", "3"]
            pixel = "[...document.getElementById('picture').getContext('2d').getImageData(20, 20, 1, 1).data]"
            np.testing.assert_allclose(browser.run(pixel)[2::-1], picture[20, 20], atol=6)
            assert texts(browser, "#faces li") == ["Ada Lovelace0.71", "Grace Hopper0.64", "unknown0.18"]
            assert [text[8:] for text in texts(browser, "#matches li")] == [
                "unknown0.18",
                "Grace Hopper0.64",
                "Ada Lovelace0.71",
                "Grace Hopper went, seen for 9.4 s",
                "the camera is back after 2.0 s",
            ]
            assert texts(browser, "#stages tr")[1:3] == ["detect1422", "align0.40.9"]
            bars = browser.run("[...document.querySelectorAll('#stages .p99')].map(bar => bar.style.width)")
            assert bars[3] == "100%" and 0 < float(bars[0][:-1]) < 15, "the longest fills its bar"
            if "EDGEFACE_SCREENSHOT" in os.environ:
                dark = [{"name": "prefers-color-scheme", "value": "dark"}]
                browser.call("Emulation.setEmulatedMedia", features=dark)
                time.sleep(4)
                Path(os.environ["EDGEFACE_SCREENSHOT"]).write_bytes(browser.screenshot())

            feed.names = (MARKUP, None, None)
            browser.wait("document.querySelector('#faces .name').textContent", lambda text: text == MARKUP)
            assert MARKUP in texts(browser, "#matches .name")
            assert browser.run(
                "window.pwned === undefined && document.querySelector('main img, main script') === null"
            )
            for width in (320, 390, 820):
                browser.resize(width, 800, 2, phone=True)
                browser.wait(f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")

            feed.stalled = True
            browser.wait("document.title", lambda title: title.startswith("Stalled"))
            browser.wait("document.getElementById('veil').textContent", lambda text: "No new picture for" in text)
            feed.stalled = False
            browser.wait("document.title", lambda title: title == LIVE)
        assert browser.complaints == []
    browser.wait("document.title", lambda title: title.startswith("The stream has ended"))
    time.sleep(2)  # now nothing answers any more
    assert browser.run("document.title").startswith("The stream has ended")
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in browser.complaints)
