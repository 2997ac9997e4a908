"""A stream of pictures, worked through by three threads that overlap: read | find and follow | embed and match.

    source -> [frames] -> detect, track -> [tracked] -> align, embed, match -> [results] -> whoever iterates

Every queue is bounded. Where the one who iterates is slow, or stalls, the queues fill up from the end: a file is then
read no further, and of a live source the oldest waiting picture is dropped for each new one. Nothing else is ever
dropped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeface_runtime.closing import Closing
from edgeface_runtime.detect import Face
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.peak_memory import peak_memory
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import Threshold
from edgeface_runtime.stream.channel import Channel
from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.identities import Identities
from edgeface_runtime.stream.meter import Meter, timed
from edgeface_runtime.stream.presence import Presence
from edgeface_runtime.stream.publish import Publisher, Showing
from edgeface_runtime.stream.reader import Reader
from edgeface_runtime.stream.results import StreamResult, StreamSummary
from edgeface_runtime.stream.settings import StreamSettings
from edgeface_runtime.stream.source import Source, open_source
from edgeface_runtime.stream.tracker import Track, Tracker

__all__ = ["Stream"]

WAITING = 2
"""Pictures that wait for each of the stages."""
RESULTS = 2
"""Results that wait for whoever iterates."""
LIVE_RATE = 25.0
"""Pictures a second that a video of a live source is shown with."""
PATIENCE_S = 3.0
"""How long the end waits for a source that does not answer."""

Tracked = tuple[Frame, tuple[Track, ...], dict[str, float]]


class Stream(Closing):
    """Iterates over the results of a source, in order; a context manager. Good for one pass.

    The source is opened when the iteration begins. It ends where a file or folder ends, after `close()` from any
    thread, or with an error. Recogniser and gallery are the caller's to close, after the stream.

    Args:
        recognizer: finds, embeds and matches.
        source: see `open_source`; or an object that is a `Source`.
        gallery: of this model; None finds and embeds, and calls everybody unknown.
        settings: how.
        on_event: is called with every event, in the thread that iterates; those of a live source come between
            results. publisher: is given every result at once, also while nobody iterates on; see publish.py.

    Raises:
        InputError: the source is not there, or no threshold is known.
        ArtefactError: the gallery is of another model.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        source: str | int | Path | Source,
        gallery: GalleryLike | None = None,
        settings: StreamSettings | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        self.settings = settings or StreamSettings()
        self.threshold: Threshold | None = None
        if gallery is not None:
            recognizer.check_gallery(gallery)
            self.threshold = recognizer.threshold(self.settings.threshold)
        self._source = open_source(source) if isinstance(source, (str, int, Path)) else source
        self._on_event = on_event
        self._work = _Work(recognizer, self._source, gallery, self.threshold, self.settings, publisher)
        self._results: Iterator[StreamResult | Event] = iter(self._work.results)

    def __iter__(self) -> Iterator[StreamResult]:
        return self

    def __next__(self) -> StreamResult:
        self._work.start()
        for item in self._results:
            events = (item,) if isinstance(item, Event) else item.events
            if self._on_event is not None:
                for event in events:
                    self._on_event(event)
            if not isinstance(item, Event):
                return item
        self.close()
        if self._work.error is not None:
            raise self._work.error
        raise StopIteration

    def close(self) -> None:
        """End all threads; results that were not fetched are lost. Closing twice does nothing."""
        hung = self._work.stop()
        if hung is not None and self._on_event is not None:
            self._on_event(hung)

    def __del__(self) -> None:
        if hasattr(self, "_work"):  # else it was never made
            self._work.stop()

    @property
    def rate(self) -> float | None:
        """Pictures a second of a video of this stream, once it has begun; None where its pictures are unrelated."""
        return (self._source.fps or LIVE_RATE) if self._source.related else None

    def summary(self) -> StreamSummary:
        """What has happened so far; after the end, all of it."""
        return self._work.summary()


class _Work:
    """The threads and what is between them. They hold this and not the `Stream`, so that one let go of ends."""

    def __init__(
        self,
        recognizer: Recognizer,
        source: Source,
        gallery: GalleryLike | None,
        threshold: Threshold | None,
        settings: StreamSettings,
        publisher: Publisher | None,
    ) -> None:
        self.error: BaseException | None = None
        self.results: Channel[StreamResult | Event] = Channel(RESULTS)
        self._recognizer = recognizer
        self._source = source
        self._threshold = threshold
        self._settings = settings
        self._showing = None if publisher is None else Showing(publisher)
        self._stop = threading.Event()
        self._frames: Channel[tuple[Frame, float]] = Channel(WAITING)
        self._tracked: Channel[Tracked] = Channel(WAITING)
        self._reader = Reader(source, settings, self._tell, self._stop)
        self._tracker = Tracker(settings.detect_every)
        self._identities = Identities(recognizer, gallery, threshold, settings.refresh_s, self._tell)
        self._presence = Presence(source.related)
        self._meter = Meter()
        self._handled = self._faces = 0
        self._first_s = self._last_s = 0.0
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it was begun or stopped."""
        with self._lock:
            if self._threads or self._stop.is_set():
                return
            stages: list[tuple[str, Callable[[], None], Channel[Any]]] = [
                ("read", self._read, self._frames),
                ("find", self._find, self._tracked),
                ("decide", self._decide, self.results),
            ]
            for name, stage, out in stages:
                name = f"edgeface-stream-{name}"
                self._threads.append(threading.Thread(target=self._run, args=(stage, out), name=name, daemon=True))
            for thread in self._threads:
                thread.start()

    def stop(self) -> Event | None:
        """End. An event where the source does not answer and its thread was left behind; the first time only."""
        self._stop.set()
        for channel in (self._frames, self._tracked, self.results):
            channel.close()
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE_S if thread is threads[0] else None)
        if threads and threads[0].is_alive():
            words = f"{self._source.name} does not answer: it was left behind"
            return Event("hung", words, time.time())
        return None

    def _run(self, stage: Callable[[], None], out: Channel[Any]) -> None:
        """Run a stage to its end. An error ends the stream after the pictures that are past that stage."""
        try:
            stage()
        except BaseException as exc:
            self.error = self.error or exc
            self._stop.set()
            for channel in (self._frames, self._tracked):
                if channel is out:
                    break
                channel.close()
        finally:
            out.finish()

    def _tell(self, event: Event) -> None:
        self.results.force(event)
        if self._showing is not None:
            self._showing.tell(event)

    def _read(self) -> None:
        with contextlib.closing(self._reader.frames()) as frames:
            for frame, took_ms in frames:
                # Known only now: an address may turn out to be a file.
                self._frames.drops = self._source.live or self._settings.realtime
                if frame.number == 0:
                    self._first_s = frame.monotonic_s - took_ms / 1000
                self._meter.add("decode", took_ms)
                if not self._frames.put((frame, took_ms)):
                    return

    def _find(self) -> None:
        for frame, decode_ms in self._frames:
            took_ms = {"decode": decode_ms}
            with timed(took_ms, "track"):
                due = self._tracker.advance(frame.image, frame.cut)
            if due:
                with timed(took_ms, "detect"):
                    faces = self._search(frame)
                self._tracker.correct(faces)
            if not self._tracked.put((frame, self._tracker.tracks, took_ms)):
                return

    def _search(self, frame: Frame) -> list[Face]:
        part, x, y = self._settings.part(frame.image)
        return [_shifted(face, x, y) for face in self._recognizer.find(part)]

    def _decide(self) -> None:
        for frame, tracks, took_ms in self._tracked:
            faces = self._identities.step(frame, tracks, took_ms)
            events = self._presence.step(frame, faces)
            self._last_s = time.monotonic()
            took_ms["whole"] = (self._last_s - frame.monotonic_s) * 1000
            for stage, value in took_ms.items():
                if stage != "decode":
                    self._meter.add(stage, value)
            self._handled += 1
            self._faces += len(faces)
            result = StreamResult(frame, faces, events, took_ms, self._frames.dropped)
            if self._showing is not None:
                self._showing.show(result, self.summary)
            if not self.results.put(result):
                return

    def summary(self) -> StreamSummary:
        """See `Stream.summary`."""
        elapsed_s = max(0.0, self._last_s - self._first_s)
        stages = self._meter.times()
        return StreamSummary(
            source=self._source.name,
            read=self._reader.read,
            handled=self._handled,
            dropped=self._frames.dropped,
            unreadable=self._reader.unreadable,
            interruptions=self._reader.interruptions,
            elapsed_s=elapsed_s,
            fps=self._handled / elapsed_s if elapsed_s else 0.0,
            detections=stages["detect"].runs if "detect" in stages else 0,
            tracks=self._tracker.begun,
            faces=self._faces,
            embeddings=self._identities.embeddings,
            saved=self._identities.saved,
            stages=stages,
            peak_memory_bytes=peak_memory(),
            threshold=self._threshold,
            backend=self._recognizer.describe(),
        )


def _shifted(face: Face, x: int, y: int) -> Face:
    """A face found in a part whose left and top are x and y, as one of the whole picture."""
    if not x and not y:
        return face
    box = face.box + np.array([x, y, x, y], np.float32)
    return Face(box, face.landmarks + np.array([x, y], np.float32), face.score)
