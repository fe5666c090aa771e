"""One run of a tap: a process group of its own, an environment of its own, and an end to every wait."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from kpid.plugin import ConnectorError, SchemaError, SourceContext
from kpid_singer.settings import SingerSettings

LONGEST = 16 * 1024 * 1024
"""No line of a tap is longer."""
_CHUNK = 64 * 1024
_TAIL = 16 * 1024
_LINES = 20
_SAID = 1_000
_STEP = 0.5
_GRACE = 5.0
_FRAME = re.compile(r' +File ".+", line \d+')
_ALWAYS = ("PATH", "HOME", "LANG", "TZ")


class Running:
    """A tap at work. It gets no standard input; what it says on standard error is kept for an error, without secrets.

    Args:
        arguments: the program, looked up already, and its arguments.
        settings: of the source.
        context: of the source; its clock bounds the whole run.
        limit: how long the run may take.
        mask: replaces secrets in a line.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        settings: SingerSettings,
        context: SourceContext,
        limit: timedelta,
        mask: Callable[[str], str],
    ) -> None:
        self._idle = settings.idle_timeout.total_seconds()
        self._limit = limit.total_seconds()
        self._clock = context.clock
        self._mask = mask
        self._tail = b""
        self._is_cut = False
        self._has_ended = False
        self._program = Path(arguments[0]).name
        try:
            self._process = subprocess.Popen(  # noqa: S603  a list of arguments, by whoever configures kpid; no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=context.folder,
                env=environment(settings, os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise SchemaError(
                f"the tap cannot be started: {error.strerror}",
                where=self._program,
                hint="Check `command` and `venv`: can the user that kpid runs as execute the program?",
            ) from None
        self._until = self._clock.monotonic() + self._limit

    def lines(self) -> Iterator[bytes]:
        """What it says on standard output, line by line, to its end.

        Raises:
            ConnectorError: it failed, was killed, said nothing for too long, or took too long.
            SchemaError: a line is too long.
        """
        rest: list[bytes] = []
        size = 0
        for chunk in self._chunks():
            *whole, last = chunk.split(b"\n")
            if whole:
                yield b"".join((*rest, whole[0]))
                yield from whole[1:]
                rest, size = [], 0
            rest.append(last)
            size += len(last)
            if size > LONGEST:
                text = f"a line of the tap is longer than {LONGEST >> 20} MB"
                raise SchemaError(text, where=self._program, hint="Leave the field that is so large out of the tap's catalog")
        if size:
            yield b"".join(rest)
        self._expect_success()

    def _chunks(self) -> Iterator[bytes]:
        """Bytes of standard output as they come. A process that it left behind may hold the pipe open: nobody waits for that."""
        out, err = self._process.stdout, self._process.stderr
        assert out is not None  # noqa: S101  both are pipes
        assert err is not None  # noqa: S101
        quiet, step = 0.0, min(_STEP, self._idle)
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            while out in {key.fileobj for key in selector.get_map().values()}:
                ready = selector.select(step)
                if not ready and self._is_over():
                    return
                quiet = 0.0 if ready else quiet + step
                self._expect_time(quiet)
                for key, _ in ready:
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is err:
                        self._note(chunk)
                    else:
                        yield chunk
            self._drain(selector)

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """The last words on standard error: they say why it failed."""
        while selector.get_map() and (ready := selector.select(_STEP)):
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                self._note(chunk)

    def _note(self, chunk: bytes) -> None:
        self._tail += chunk
        if len(self._tail) > _TAIL:
            self._tail, self._is_cut = self._tail[-_TAIL:], True

    def _expect_time(self, quiet: float) -> None:
        if quiet >= self._idle:
            text = f"the tap has said nothing for {self._idle:,.0f} s and was stopped"
            raise self._error(text, "`idle_timeout` says how long it may")
        if self._clock.monotonic() > self._until:
            text = f"the tap took longer than {self._limit:,.0f} s and was stopped"
            raise self._error(text, "The next sync goes on at its last STATE; `timeout` says how long it may take")

    def _expect_success(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        code = self._process.returncode
        if not self._is_over():
            raise self._error("the tap closed its output and did not end", "Run it by hand to see why")
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            raise self._error(f"the tap was killed by {name}", "The next sync goes on at its last STATE")
        if code:
            raise self._error(f"the tap failed with exit code {code}", "Run it by hand to see more")

    def _error(self, text: str, hint: str) -> ConnectorError:
        said = self.last_words()
        return ConnectorError(f"{text}; it said: {said}" if said else text, where=self._program, hint=hint)

    def last_words(self) -> str:
        """The last lines of standard error, without secrets."""
        text = self._tail.decode("utf-8", "replace")
        if self._is_cut:  # the first line may begin in the middle of a secret
            text = text.partition("\n")[2]
        lines = [self._mask(line) for line in telling(text.splitlines())[-_LINES:]]
        said = " | ".join(lines)
        return said if len(said) <= _SAID else f"…{said[-_SAID:]}"

    def _is_over(self) -> bool:
        """Whether it has ended; what it has started ends with it, before its number can be anybody else's."""
        if not self._has_ended and self._process.poll() is not None:
            self._has_ended = True
            self._signal(signal.SIGKILL)
        return self._has_ended

    def stop(self) -> None:
        """End it and all that it has started: asked politely first, then by force."""
        if not self._is_over():
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
            if not self._is_over():
                self._signal(signal.SIGKILL)
                self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def telling(lines: Sequence[str]) -> list[str]:
    """Lines that are not empty, and of Python's tracebacks the error alone: where in the tap it was is of no use here."""
    if not any(_FRAME.match(line) for line in lines):
        return [line for line in lines if line.strip()]
    return [line for line in lines if line.strip() and not line.startswith((" ", "Traceback (most recent"))]


def environment(settings: SingerSettings, ours: Mapping[str, str]) -> dict[str, str]:
    """What a tap is given of our environment: next to nothing, and what it is said to need."""
    found = {name: ours[name] for name in (*_ALWAYS, *settings.env) if name in ours}
    if settings.venv is not None:
        found["VIRTUAL_ENV"] = str(settings.venv)
        found["PATH"] = f"{settings.venv / 'bin'}{os.pathsep}{found.get('PATH', os.defpath)}"
    return found
