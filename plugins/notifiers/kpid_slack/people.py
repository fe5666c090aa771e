"""People in Slack: the conversation with one of them, by address or by Slack id."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlencode

Ask: TypeAlias = Callable[[str, str, Mapping[str, Any] | None], dict[str, Any]]
"""(HTTP method, Slack's method, body) -> answer. Raises DeliveryError."""
_ID = re.compile(r"[UW][A-Z0-9]{2,20}")
_ADDRESS = re.compile(r"[^@\s]{1,100}@[^@\s]{1,200}")


def is_person(recipient: str) -> bool:
    """Whether a recipient may be somebody in Slack: an id (U0123456789), or an address."""
    return bool(_ID.fullmatch(recipient) or _ADDRESS.fullmatch(recipient))


class People:
    """Finds the conversation with a person, and remembers it. Scopes: ``users:read.email`` and ``im:write``."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._channels: dict[str, str] = {}

    def channel_of(self, recipient: str) -> str:
        """Id of the conversation with this person.

        Raises:
            DeliveryError: Slack knows nobody of this address, or could not be asked.
        """
        if recipient not in self._channels:
            person = recipient
            if not _ID.fullmatch(recipient):
                person = str(self._ask("GET", f"users.lookupByEmail?{urlencode({'email': recipient})}", None)["user"]["id"])
            self._channels[recipient] = str(self._ask("POST", "conversations.open", {"users": person})["channel"]["id"])
        return self._channels[recipient]
