"""Text from a CRM made harmless for a line of text: no control characters, no characters that turn the reading direction."""

from __future__ import annotations

import re

_HOSTILE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


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
