"""One send at a time, unless somebody is slow."""

from __future__ import annotations

import threading
import time

from kpid.clock import SystemClock
from kpid.delivery.turns import Turns


def test_quick_sends_never_overlap() -> None:
    turns = Turns(SystemClock())
    under_way, most = [0], [0]
    lock = threading.Lock()

    def send(receiver: str) -> None:
        for _ in range(20):
            with turns.turn(receiver):
                with lock:
                    under_way[0] += 1
                    most[0] = max(most[0], under_way[0])
                time.sleep(0.0005)
                with lock:
                    under_way[0] -= 1

    threads = [threading.Thread(target=send, args=(f"r{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]


def test_a_slow_receiver_holds_the_others_up_for_a_moment_and_only_once() -> None:
    turns = Turns(SystemClock(), patience=0.05)
    release, holding = threading.Event(), threading.Event()

    def slow() -> None:
        for _ in range(2):
            with turns.turn("slow"):
                holding.set()
                release.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert holding.wait(30)
    for _ in range(50):  # the first waits for the slow one; the others find the turn free
        with turns.turn("quick"):
            pass
    release.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_receiver_that_is_quick_again_waits_its_turn_again() -> None:
    turns = Turns(SystemClock(), patience=0.01)
    with turns.turn("a"):
        time.sleep(0.03)
    assert turns._slow == {"a"}
    with turns.turn("a"):
        pass
    assert turns._slow == set()


def test_a_send_that_raises_gives_its_turn_back() -> None:
    turns = Turns(SystemClock(), patience=60)
    for _ in range(2):
        try:
            with turns.turn("a"):
                raise ConnectionError
        except ConnectionError:
            pass
    assert turns._holder is None
