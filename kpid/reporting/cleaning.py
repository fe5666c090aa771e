"""Text from a CRM made harmless: no control characters, none that turn the reading direction, nothing without end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

_HOSTILE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
MAX_TEXT = 2_000
_LIMITS = {"currency": 12, "threshold": 120, "label": 40, "since": 60, "previous_label": 60, "by": 60, "dimension": 60}
"""Longest texts of fields that stand in a line with others, by name."""
T = TypeVar("T")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def cleaned(value: T, limit: int = MAX_TEXT) -> T:
    """A notice or a report context with every text in it harmless and of a length that can be laid out."""
    found: Any = value
    if isinstance(value, str) and not isinstance(value, Enum):
        text = strip_hostile(value[: 2 * limit])
        found = text if len(text) <= limit else f"{text[: limit - 1]}…"
    elif isinstance(value, tuple):
        found = tuple(cleaned(one, limit) for one in value)
    elif isinstance(value, Mapping):
        found = {cleaned(name): cleaned(one, limit) for name, one in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(
            value, **{one.name: cleaned(getattr(value, one.name), _LIMITS.get(one.name, limit)) for one in fields(value)}
        )
    return found  # type: ignore[no-any-return]


def strip_hostile(text: str) -> str:
    """The text without characters that no mail needs; newlines and tabs stay."""
    return _HOSTILE.sub("", text)


def one_line(text: str, limit: int = 120) -> str:
    """The text as one line of at most ``limit`` characters; cut text ends in an ellipsis."""
    line = _HOSTILE.sub("", _BLANK.sub(" ", text)).strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def safe_url(url: str) -> str:
    """The address if it is https, http or mailto; else nothing: CRM text never becomes a script."""
    line = one_line(url, 2000)
    return line if re.match(r"(https?://|mailto:)[^\s<>\"]+$", line, re.IGNORECASE) else ""
