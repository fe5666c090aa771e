"""Numbered parameters (``$1``) for engines that want named ones. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_MARK = re.compile(r"'(?:[^'\\]|\\.|'')*'|`[^`]*`|\"[^\"]*\"|\$(\d+)\b", re.DOTALL)
"""A text or a name between quotation marks, passed over; or a mark."""


def with_marks(sql: str, mark: Callable[[int], str]) -> str:
    """The SQL with each ``$n`` replaced by ``mark(n)``; what looks like one inside a text stays."""
    return _MARK.sub(lambda found: found[0] if found[1] is None else mark(int(found[1])), sql)
