"""Requests before they are sent: where to, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode, urljoin

Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to go: an absolute address and what to send there."""

    method: str
    url: str
    params: Params | None = None
    json: Any = field(default=None, repr=False)
    data: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def redirected(self, location: str) -> Call:
        """The same request at the place that a redirect names."""
        return replace(self, url=urljoin(self.url, location), params=None)

    def body(self) -> tuple[bytes | None, str | None]:
        """What is sent, and its type as far as it is known: JSON, form fields, or bytes as they are.

        Raises:
            ValueError: JSON has no words for it.
        """
        if not self.data:
            told = None if self.json is None else json.dumps(self.json, allow_nan=False).encode()
            return told, None if told is None else "application/json"
        if isinstance(self.data, (bytes, str)):
            return self.data if isinstance(self.data, bytes) else self.data.encode(), None
        return query_text(self.data).encode(), "application/x-www-form-urlencoded"


def query_text(params: Params | None) -> str:
    """Parameters as an address has them: several values of one name side by side, nothing for None."""
    pairs = params.items() if isinstance(params, Mapping) else params or ()
    lists = [(name, [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value) for name, value in pairs]
    return urlencode([(name, value) for name, values in lists for value in values if value is not None])
