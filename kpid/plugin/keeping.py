"""Where a connector keeps secrets that its vendor rotates: a refresh token is void as soon as the next one has been given."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from kpid.errors import AuthError
from kpid.plugin.settings import Secret

_REPAIR = "Repair its rights, or remove it and give the source a new token"


class Keep(Protocol):
    """Keeps secrets by name, from one sync to the next. Ask before each use: another process may rotate too."""

    def get(self, name: str) -> Secret | None:
        """What was put last under this name; None if nothing was."""

    def put(self, name: str, secret: Secret) -> None:
        """Keep a secret; when this returns it is safe to use what made the old one void."""


class MemoryKeep:
    """Keeps for the length of the process: for tests, and where nothing rotates."""

    def __init__(self) -> None:
        self._kept: dict[str, Secret] = {}

    def get(self, name: str) -> Secret | None:
        """What was put last under this name."""
        return self._kept.get(name)

    def put(self, name: str, secret: Secret) -> None:
        """Keep a secret."""
        self._kept = _with(self._kept, name, secret)


class FileKeep:
    """Keeps in a file that only its owner may read: ``<folder>/<source>.json``. Making one touches nothing.

    Args:
        folder: made when something is put, mode 0700.
        source: name of the configured source.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._file = folder / f"{sha256(source.encode()).hexdigest()[:16] if _is_odd(source) else source}.json"

    def __repr__(self) -> str:
        return f"FileKeep({str(self._file)!r})"

    def get(self, name: str) -> Secret | None:
        """What was put last under this name, by whichever process.

        Raises:
            AuthError: the file is there and cannot be read.
        """
        return self._read().get(name)

    def put(self, name: str, secret: Secret) -> None:
        """Keep a secret: written beside, flushed, put in place of the old file under a lock.

        Raises:
            AuthError: it cannot be written; the old token is void all the same, so a person has to know at once.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                self._write(_with(self._read(), name, secret))
        except OSError as error:
            raise AuthError(
                f"a renewed token could not be kept: {error.strerror}",
                where=str(self._file),
                hint="Make the folder writable for kpid, then give the source a new token",
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, kept: dict[str, Secret]) -> None:
        beside = self._file.with_suffix(".new")
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({name: secret.get_secret_value() for name, secret in kept.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._file)

    def _read(self) -> dict[str, Secret]:
        try:
            values = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no JSON"
            raise AuthError(f"the kept token cannot be read: {why}", where=str(self._file), hint=_REPAIR) from None
        if not isinstance(values, dict):
            raise AuthError("the kept token cannot be read", where=str(self._file), hint=_REPAIR)
        return {str(name): Secret(str(value)) for name, value in values.items()}


def bound(name: str, configured: Secret) -> str:
    """The name under which to keep what replaces a configured secret: a newly configured one makes the kept one void."""
    return f"{name}:{sha256(configured.get_secret_value().encode()).hexdigest()[:32]}"


def _with(kept: dict[str, Secret], name: str, secret: Secret) -> dict[str, Secret]:
    """What is kept, with one more; what was bound to a secret configured before goes."""
    stem, is_bound, _ = name.partition(":")
    others = {other: value for other, value in kept.items() if not is_bound or other.partition(":")[0] != stem}
    return {**others, name: secret}


def _is_odd(source: str) -> bool:
    """Names that are no good file names."""
    return not source.replace("_", "").replace("-", "").isalnum() or not source.isascii()
