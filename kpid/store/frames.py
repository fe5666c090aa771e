"""Notices as JSON: exact numbers are texts, what has its default is left out; unknown keys are ignored, so versions get along."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from kpid.model import Cause, Level, Notice, NoticeItem, Rows, canonical_json


def _exact(value: Any) -> Any:
    return None if value is None else Decimal(value)


def _instant(value: Any) -> Any:
    return None if value is None else datetime.fromisoformat(value)


def _pairs(value: Any) -> Any:
    return tuple((pair[0], pair[1]) for pair in value)


def _cause(value: Mapping[str, Any]) -> Cause:
    exact = ("effect", "rate", "mix", "value", "value_was", "weight", "weight_was")
    known = {field.name for field in fields(Cause)}
    return Cause(**{name: _exact(one) if name in exact else one for name, one in value.items() if name in known})


def _rows(value: Any) -> Rows | None:
    return None if value is None else Rows(tuple(value["columns"]), tuple(map(tuple, value["rows"])), value["total"])


_READ: Mapping[str, Callable[[Any], Any]] = {
    "level": Level,
    **dict.fromkeys(("value", "limit", "previous", "low", "high", "baseline", "effect"), _exact),
    **dict.fromkeys(("slot", "now", "data_through"), _instant),
    **dict.fromkeys(("dims", "labels"), _pairs),
    **dict.fromkeys(("warnings", "by"), tuple),
    "causes": lambda value: tuple(map(_cause, value)),
    "trail": lambda value: tuple((label, _exact(number)) for label, number in value),
    "rows": _rows,
}
_ITEM = {field.name: field.default for field in fields(NoticeItem)}
_FRAME = {field.name: field.default for field in fields(Notice) if field.name != "items"}


def item_dump(item: NoticeItem) -> dict[str, Any]:
    """What is told of one series, as JSON-able data."""
    return _dump(item, _ITEM)


def item_from_dump(data: Mapping[str, Any]) -> NoticeItem:
    """The inverse of :func:`item_dump`."""
    return NoticeItem(**_read(data, _ITEM))


def frame_dump(notice: Notice) -> tuple[str, dict[str, Any]]:
    """A notice without its items: sha256 of the data, and the data."""
    body = _dump(notice, _FRAME)
    return hashlib.sha256(canonical_json(body).encode()).hexdigest(), body


def frame_from_dump(data: Mapping[str, Any]) -> Notice:
    """The inverse of :func:`frame_dump`: a notice without items."""
    return Notice(items=(), **_read(data, _FRAME))


def _read(data: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _READ[name](value) if name in _READ else value for name, value in data.items() if name in known}
    missing = {name: None for name, default in known.items() if default is MISSING and name not in found}
    return {**missing, **found}


def _dump(one: object, known: Mapping[str, Any]) -> dict[str, Any]:
    data = {}
    for name, default in known.items():
        value = getattr(one, name)
        if value is not default and value != default:
            data[name] = value if type(value) in _BARE else _plain(value)
    return data


_BARE = {str, int, float, bool, type(None)}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Level):
        return value.value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Cause | Rows):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
