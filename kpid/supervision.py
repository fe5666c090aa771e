"""What those who run the process want: signals heeded, systemd told, memory given back."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kpid.clock import Clock

_M_ARENA_MAX = -8  # malloc.h of the GNU C library


class Signals:
    """SIGTERM, SIGINT and SIGHUP as things to look at. A second request to stop ends the process at once."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals for the length of the block, in the main thread."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        elif self.stop:
            os._exit(128 + number)
        else:
            self.stop = True

    def wait(self, seconds: float) -> None:
        """Until a signal comes, at most so long."""
        select.select([self._read], [], [], max(0.0, seconds))
        with suppress(BlockingIOError):
            os.read(self._read, 4096)


class Health:
    """Whether the parts of a process do their work: none has failed at its last try, and each was heard of lately.

    Args:
        clock: measures how long ago that was.
        patience: seconds after which a part that says nothing is not well.
    """

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._heard: dict[str, float] = {"": clock.monotonic()}
        self._ill: set[str] = set()

    def well(self, part: str) -> None:
        """This part has done its work."""
        self._heard[part] = self._clock.monotonic()
        self._heard.pop("", None)
        self._ill.discard(part)

    def ill(self, part: str) -> None:
        """This part could not."""
        self._ill.add(part)

    def is_well(self) -> bool:
        """Whether all of them do."""
        now = self._clock.monotonic()
        return not self._ill and all(now - at < self._patience for at in list(self._heard.values()))


def tell_systemd(state: str) -> None:
    """One ``sd_notify`` message, if systemd asked for them."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.sendall(state.encode())


def share_one_heap() -> None:
    """Keep the threads to one heap, where the C library gives each its own: idle, half of what those hold is empty."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return what a big job has freed to the system, where the C library can."""
    gc.collect()
    arrow = sys.modules.get("pyarrow")  # its pool keeps what the last batches took
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class ProgramCode:
    """The pages of program code that are in memory: extension modules that start-up and jobs run through once.

    An idle process needs a twentieth of them. To let go of them costs nothing but page faults at the next job: they are unchanged
    pages of files. Only modules of this Python are touched: once loaded they stay where they are for the life of the process, so
    that nothing else can ever lie at their addresses.
    """

    def __init__(self) -> None:
        self._mapped: frozenset[str] = frozenset()
        with suppress(OSError):
            self._mapped = frozenset(_unchanged_code(Path("/proc/self/smaps").read_text()))

    def let_go(self) -> None:
        """Give the pages back; those that are used come back by themselves."""
        with suppress(OSError, AttributeError):
            madvise = ctypes.CDLL(None).madvise
            madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
            for line in self._mapped.intersection(Path("/proc/self/maps").read_text().splitlines()):
                start, end = (int(bound, 16) for bound in line.split(maxsplit=1)[0].split("-"))
                madvise(start, end - start, mmap.MADV_DONTNEED)


def _unchanged_code(smaps: str) -> Iterator[str]:
    """Mappings of extension modules that cannot be written and hold no page of their own, as ``/proc/self/maps`` lists them."""
    for line, fields in re.findall(r"^([0-9a-f]+-[0-9a-f]+ .*)\n((?:[A-Z].*\n)+)", smaps, re.MULTILINE):
        _, rights, *_, file = line.split(maxsplit=5)
        is_module = re.search(r"\.so(\.\d+)*$", file) and file.startswith((f"{sys.prefix}/", f"{sys.base_prefix}/"))
        if rights in ("r-xp", "r--p") and is_module and re.search(r"^Anonymous: +0 kB$", fields, re.MULTILINE):
            yield line


def serve(signals: Signals, clock: Clock, every: float, *, tick: Callable[[], None], reload: Callable[[], None]) -> None:
    """The main thread's loop: ticks, reloads when asked to, until it is told to stop.

    Args:
        signals: caught.
        clock: of the machine.
        every: seconds between two ticks; fewer where systemd's watchdog wants to hear of us more often.
        tick: the work of a tick.
        reload: reads the configuration again.
    """
    pause = min(every, float(os.environ.get("WATCHDOG_USEC", "1e9")) / 2e6)
    ready, next_tick = False, clock.monotonic()
    while not signals.stop:
        if signals.reload:
            signals.reload = False
            tell_systemd(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}")
            reload()
            tell_systemd("READY=1")
        if clock.monotonic() >= next_tick:
            tick()
            next_tick = clock.monotonic() + pause
            tell_systemd("WATCHDOG=1" if ready else "READY=1")
            ready = True
        signals.wait(next_tick - clock.monotonic())
