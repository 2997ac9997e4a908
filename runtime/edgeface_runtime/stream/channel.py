"""A bounded queue between two threads: it waits when it is full, or drops its oldest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Channel"]

Item = TypeVar("Item")

MOST_FORCED = 64
"""Items put beyond the size before further ones are left out."""


class Channel(Generic[Item]):
    """Items in order, at most `size` of them (and a bounded number of forced ones). Any number of threads.

    Args:
        size: how many wait at most.
        drops: a full channel lets its oldest item go, counted in `dropped`, instead of making the giver wait.
    """

    def __init__(self, size: int, drops: bool = False) -> None:
        self.drops = drops
        self.dropped = 0
        self._size = size
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False

    def put(self, item: Item) -> bool:
        """Add an item; waits for room unless the channel drops. False, and nothing added, once it is finished."""
        with self._changed:
            while len(self._items) >= self._size and not self._finished:
                if self.drops:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._finished:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def force(self, item: Item) -> bool:
        """Add an item without waiting for room, or leave it out where too many such are there already."""
        with self._changed:
            if self._finished or len(self._items) >= self._size + MOST_FORCED:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def finish(self) -> None:
        """Nothing more will come; what is there can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come, and what is there is let go."""
        with self._changed:
            self._items.clear()
            self._finished = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """The items as they come, until the channel is finished and empty."""
        while True:
            with self._changed:
                while not self._items and not self._finished:
                    self._changed.wait()
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
