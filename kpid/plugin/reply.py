"""What comes back from a server: a response, or a failure that says whether the request may have arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NoReturn

from kpid.errors import ConnectorError
from kpid.plugin.pacing import http_date


@dataclass(frozen=True)
class Response:
    """A complete answer.

    Args:
        status: HTTP status.
        headers: by name, any case.
        content: the decoded body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the server said yes (2xx)."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 become replacement characters."""
        return self.content.decode("utf-8", "replace")

    @property
    def date(self) -> datetime | None:
        """The server's clock when it answered, from its ``Date`` header."""
        return http_date(self.headers.get("Date", ""))

    def json(self) -> Any:
        """The body as JSON values, fractions as Decimal; None for an empty body. Parsed once: do not change what you get.

        Raises:
            ValueError: the body is no JSON.
        """
        return self._parsed

    @cached_property
    def _parsed(self) -> Any:
        if not self.content.strip():
            return None
        try:
            return json.loads(self.content, parse_float=Decimal, parse_constant=_refuse)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def is_json(self) -> bool:
        """Whether the body can be read as JSON; an empty one can."""
        try:
            self.json()
        except ValueError:
            return False
        return True

    def vendor_message(self) -> str:
        """What the server says about an error, from the places where APIs put it; empty if nowhere."""
        try:
            body = self.json()
        except ValueError:
            return ""
        if isinstance(body, list) and body:
            body = body[0]
        if not isinstance(body, dict):
            return body if isinstance(body, str) else ""
        inner = body.get("error")
        for candidate in (body.get("message"), body.get("error_description"), inner, body.get("errors")):
            text = _message(candidate)
            if text:
                return text
        return ""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _message(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("message") or value.get("detail")
    return value if isinstance(value, str) else ""


class HttpFailure(ConnectorError):  # noqa: N818  a failure is what it is, whoever's error
    """An exchange that did not give a usable answer.

    Args:
        what: one sentence, already redacted.
        status: HTTP status, if one came.
        sent: the request may have reached the server.
        unknown: the request may have reached the server, and its answer was lost: it may have had its effect.
        transient: another try later may work.
        retry_after: how long the server asked us to wait.
        response: the answer, if a complete one came.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int | None = None,
        sent: bool = True,
        unknown: bool = False,
        transient: bool = True,
        retry_after: timedelta | None = None,
        response: Response | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.sent = sent
        self.unknown = unknown
        self.transient = transient
        self.retry_after = retry_after
        self.response = response
