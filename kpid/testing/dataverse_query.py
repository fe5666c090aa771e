"""What requests to a fake Dataverse environment ask for, and how it refuses: exactly the queries that are documented here."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote

from kpid.testing.api import Answer, Request


class RefusedError(Exception):
    """The request cannot be answered; ``answer`` says so in the service's words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"error": {"code": code, "message": message}})


def refusal(status: int, code: str, message: str) -> RefusedError:
    """An error with one of the service's codes."""
    return RefusedError(status, code, message)


def page_size(prefer: str) -> int:
    """The rows of a page that a ``Prefer`` header asks for; no more than the service gives."""
    asked_for = re.search(r"odata\.maxpagesize=(\d+)", prefer)
    return min(int(asked_for[1]), 5000) if asked_for else 5000


def query_of(request: Request) -> str:
    """What was asked for, without the place within it; to be sent back as it is."""
    names = ("$select", "$filter", "$orderby", "$deltatoken")
    return "&".join(f"{name}={quote(request.arg(name), safe=',')}" for name in names if request.arg(name))


def wanted_ids(told: str, column: str) -> list[str] | None:
    """The ids in a filter ``column eq a or column eq b``; None if it is another filter."""
    one = rf"{column} eq ([0-9a-f-]+)"
    return re.findall(one, told) if re.fullmatch(rf"{one}(?: or {one})*", told) else None


def window_of(told: str) -> tuple[datetime | None, datetime | None]:
    """The instants in a filter on ``modifiedon``; none if there is no filter."""
    if not told:
        return None, None
    match = re.fullmatch(r"modifiedon ge (\S+)(?: and modifiedon lt (\S+))?", told)
    if match is None:
        raise refusal(400, "0x80060888", f"the filter is not understood: {told}")
    return datetime.fromisoformat(match[1]), datetime.fromisoformat(match[2]) if match[2] else None
