"""Log lines on standard output, as text or as JSON, with what they are about and without secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

from kpid.config.secrets import redact

_ABOUT: ContextVar[dict[str, str]] = ContextVar("kpid_about")
_NOISY = ("apscheduler", "urllib3", "alembic")


@contextmanager
def about(**facts: str) -> Iterator[None]:
    """Every line logged in this block carries these facts: schedule, due, run."""
    token = _ABOUT.set({**_ABOUT.get({}), **facts})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class _Lines(logging.Formatter):
    """One line per record, secrets replaced by stars."""

    def __init__(self, kind: Literal["text", "json"], secrets: frozenset[str]) -> None:
        super().__init__()
        self._kind = kind
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "about", {})
        text = redact(record.getMessage(), self._secrets)  # before JSON quotes it once more, and after
        trace = redact(self.formatException(record.exc_info), self._secrets) if record.exc_info else ""
        at = datetime.fromtimestamp(record.created, UTC)
        if self._kind == "json":
            told = {"at": at.isoformat(timespec="milliseconds"), "level": record.levelname.lower(), "logger": record.name}
            line = json.dumps({**told, "text": text, **facts, **({"trace": trace} if trace else {})}, ensure_ascii=False)
        else:
            tail = "".join(f" {key}={value}" for key, value in facts.items())
            line = f"{at:%Y-%m-%dT%H:%M:%SZ} {record.levelname.lower():<7} {_one_line(text)}{tail}" + (
                "".join(f"\n{_one_line(traced)}" for traced in trace.split("\n")) if trace else ""
            )
        return redact(line, self._secrets)


def _one_line(text: str) -> str:
    """What comes from outside must neither forge a line nor steer a terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _with_facts(record: logging.LogRecord) -> bool:
    record.about = _ABOUT.get({})
    return True


def take_down(handler: logging.Handler) -> None:
    """Log to this handler no more."""
    logging.getLogger().removeHandler(handler)


def set_up(
    kind: Literal["text", "json"], level: str, secrets: frozenset[str], *, stream: TextIO | None = None
) -> logging.Handler:
    """Log this way from now on, in place of any way before.

    Args:
        kind: ``text`` for people, ``json`` for machines.
        level: debug, info, warning or error.
        secrets: texts that must not appear.
        stream: where to; standard output if None.

    Returns:
        The handler, for those who take it away again.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_Lines(kind, secrets))
    handler.addFilter(_with_facts)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, _Lines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    return handler
