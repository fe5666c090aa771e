"""A private folder for one run of a tap: its configuration, state and catalog, readable for nobody else and gone afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NAME = "kpid-singer-"
_LOCK = ".lock"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can look into; removed at the end of the block.

    While it is in use a file in it is locked: what a killed process left behind is known by that, and is removed first.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_NAME))
    fresh = folder / ".new"
    lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh.rename(folder / _LOCK)  # nobody finds it unlocked
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def write_private(file: Path, value: Any) -> Path:
    """Write a new JSON file that only this user can read; gives it back."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(value, stream)
    return file


def _sweep(temporary: Path) -> None:
    """Remove what killed processes of this user left behind: secrets lie in it."""
    for folder in temporary.glob(f"{_NAME}*"):
        with suppress(OSError):  # somebody else's, or gone meanwhile
            if folder.stat().st_uid == os.getuid() and _is_left(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
