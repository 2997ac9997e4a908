"""CUDA graphs: the kernels of one batch size captured once, and launched by one call after that.

A graph holds shapes and addresses, so there is one for every batch size, each with an execution context of its own
(a context that is given another shape may change what a graph of it reads).
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from edgeface_runtime.errors import DeviceError, EngineError

__all__ = ["MAX_GRAPHS", "CudaPythonGraphs", "Graphs", "Replays"]

MAX_GRAPHS = 4
"""Batch sizes kept; each holds the scratch memory of an execution context."""

Enqueue = Callable[[], None]
"""Puts the work of one batch size into the stream."""


class Graphs(Protocol):
    """Capturing and launching. Graphs and streams are plain integers (addresses)."""

    def capture(self, stream: int, enqueue: Enqueue) -> int:
        """A graph of what `enqueue` puts into the stream, which is recorded and not run."""

    def launch(self, graph: int, stream: int) -> None:
        """Put all of a graph's work into the stream."""

    def free(self, graph: int) -> None:
        """Give a graph back."""


class CudaPythonGraphs:
    """By NVIDIA's cuda-python.

    Args:
        runtime: its module of the CUDA runtime.
        call: calls a function of that module by name and maps its errors.
    """

    def __init__(self, runtime: Any, call: Callable[..., Any]) -> None:
        self._runtime, self._call = runtime, call

    def capture(self, stream: int, enqueue: Enqueue) -> int:
        """See `Graphs`."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            # Until it is ended, the stream runs nothing.
            with contextlib.suppress(DeviceError):
                self._call("cudaGraphDestroy", self._call("cudaStreamEndCapture", stream))
            raise
        recorded = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", recorded, 0))
        finally:
            self._call("cudaGraphDestroy", recorded)

    def launch(self, graph: int, stream: int) -> None:
        """See `Graphs`."""
        self._call("cudaGraphLaunch", graph, stream)

    def free(self, graph: int) -> None:
        """See `Graphs`."""
        self._call("cudaGraphExecDestroy", graph)


class Replays:
    """Graphs by batch size, those used last kept. All calls are made inside `with cuda.active():`.

    Args:
        graphs: captures and launches.
        stream: where the work goes.
        prepare: batch size -> what enqueues it, which keeps whatever the graph needs.
        synchronize: waits for the stream.
    """

    def __init__(
        self, graphs: Graphs, stream: int, prepare: Callable[[int], Enqueue], synchronize: Callable[[int], None]
    ) -> None:
        self._graphs, self._stream, self._prepare, self._synchronize = graphs, stream, prepare, synchronize
        self._kept: OrderedDict[int, tuple[int, Enqueue]] = OrderedDict()

    def run(self, batch: int) -> None:
        """Put the work of a batch size into the stream; the first time it is enqueued as usual, then captured.

        Raises:
            EngineError: the work failed, or cannot be captured.
        """
        if batch in self._kept:
            self._kept.move_to_end(batch)
            self._graphs.launch(self._kept[batch][0], self._stream)
            return
        while len(self._kept) >= MAX_GRAPHS:
            self._drop()
        enqueue = self._prepare(batch)
        enqueue()  # what a context does only in its first run must not be in the graph
        self._synchronize(self._stream)
        try:
            graph = self._graphs.capture(self._stream, enqueue)
        except DeviceError as exc:
            raise EngineError(f"the engine cannot be captured as a CUDA graph ({exc}): run it without") from exc
        self._kept[batch] = (graph, enqueue)

    def _drop(self) -> None:
        _, (graph, _) = self._kept.popitem(last=False)
        self._graphs.free(graph)

    def free(self) -> None:
        """Give all graphs back. Freeing twice does nothing."""
        while self._kept:
            self._drop()
