"""Where the sync of an entity stands, as it is kept in its watermark. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpid.plugin import Cursor


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on.

    Args:
        read: the connector's own cursor of the pages.
        deleted: its cursor of the delete pass.
        run: name of the full read in progress, under which it keeps what it has met; None between reads.
    """

    read: Cursor | None = None
    deleted: Cursor | None = None
    run: str | None = None

    def to_json(self) -> dict[str, Any] | None:
        """For the watermark; None if there is nothing to remember."""
        values = {"read": self.read, "deleted": self.deleted, "run": self.run}
        kept = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items() if value is not None}
        return kept or None


def position_from_json(value: Mapping[str, Any] | None) -> Position:
    """Back from the watermark."""
    value = value or {}
    return Position(value.get("read"), value.get("deleted"), value.get("run"))
