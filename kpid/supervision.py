"""What those who run the process want: signals heeded, systemd told, memory given back."""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def tell_systemd(state: str) -> None:
    """One ``sd_notify`` message, if systemd asked for them."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.sendall(state.encode())


def give_back_memory() -> None:
    """Return what a big job has freed to the system, where the C library can."""
    gc.collect()
    arrow = sys.modules.get("pyarrow")  # its pool keeps what the last batches took
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
