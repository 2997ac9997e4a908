"""What holds memory, a file or a device: a context manager whose end is `close()`."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

__all__ = ["Closing"]

Kept = TypeVar("Kept", bound="Closing")


class Closing:
    """Base of what must be closed: `with` gives the object itself and closes it at the end."""

    def close(self) -> None:
        """Let go; closing twice does nothing."""
        raise NotImplementedError

    def __enter__(self: Kept) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
