"""The queues between the stages: bounded, in order, the oldest dropped where that is asked for."""

from __future__ import annotations

import threading

from edgeface_runtime.stream.channel import MOST_FORCED, Channel


def test_the_oldest_is_dropped_and_counted() -> None:
    channel: Channel[int] = Channel(2, drops=True)
    assert all(channel.put(n) for n in range(5))
    channel.finish()
    assert list(channel) == [3, 4]
    assert channel.dropped == 3


def test_a_full_channel_makes_the_giver_wait() -> None:
    channel: Channel[int] = Channel(2)
    given = []

    def give() -> None:
        for n in range(6):
            channel.put(n)
            given.append(n)
        channel.finish()

    thread = threading.Thread(target=give)
    thread.start()
    items = iter(channel)
    assert next(items) == 0
    assert list(items) == [1, 2, 3, 4, 5]
    thread.join(5)
    assert (given, channel.dropped) == ([0, 1, 2, 3, 4, 5], 0)


def test_closing_wakes_everybody_and_lets_all_go() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(channel.put(2)))
    waiting.start()
    channel.close()
    waiting.join(5)
    assert answers == [False]
    assert list(channel) == []
    empty: Channel[int] = Channel(1)
    reader = threading.Thread(target=lambda: answers.append(list(empty)))
    reader.start()
    empty.close()
    reader.join(5)
    assert answers == [False, []]


def test_forced_items_do_not_wait_and_are_bounded() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    added = [channel.force(n) for n in range(1, 200)]
    assert sum(added) == MOST_FORCED
    channel.finish()
    assert list(channel) == list(range(MOST_FORCED + 1))
    assert not channel.force(1)
