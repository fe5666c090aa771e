"""The lines of a tap as messages of the Singer protocol. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from kpid.plugin import ConnectorError, SchemaError

KNOWN = frozenset({"SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION"})
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=lambda _: None)
_NEEDS = {"SCHEMA": ("stream", "schema"), "RECORD": ("stream", "record"), "STATE": ("value",), "ACTIVATE_VERSION": ("stream",)}


def messages(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Each line as a message; empty lines are passed over. Numbers with a point are exact.

    Raises:
        ConnectorError: a line is no whole message: what it was to tell would be lost.
        SchemaError: a kind of message that points to files elsewhere.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _message(line, number)


def read_json(said: bytes) -> Any:
    """What JSON says; None if it is none. No error is kept that would quote it: a secret may be in it."""
    try:
        return _DECODER.decode(said.decode("utf-8").strip())
    except (ValueError, RecursionError):
        return None


def _message(line: bytes, number: int) -> dict[str, Any]:
    where = f"line {number} of the tap's output"
    message = read_json(line)
    if message is None:
        hint = "A tap must print nothing but messages: its log belongs on standard error. Is it broken, or no tap?"
        raise ConnectorError("this is no whole JSON message", where=where, hint=hint)
    kind = message.get("type") if isinstance(message, dict) else None
    if kind == "BATCH":
        hint = "Turn `batch_config` off in the tap's `config:`"
        raise SchemaError("the tap gives its records in files (BATCH), which is not supported", where=where, hint=hint)
    if not isinstance(message, dict) or not isinstance(kind, str):
        raise ConnectorError("this is no message of the Singer protocol", where=where, hint="Is `command` a Singer tap?")
    for name in _NEEDS.get(kind, ()):
        if name not in message:
            raise ConnectorError(f"a {kind} lacks its `{name}`", where=where, hint="Tell the tap's author")
    if kind in {"SCHEMA", "RECORD"} and not isinstance(message[_NEEDS[kind][1]], dict):
        raise ConnectorError(f"the `{_NEEDS[kind][1]}` of a {kind} is no object", where=where, hint="Tell the tap's author")
    return message
