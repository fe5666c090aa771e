"""Where the sync of an entity stands, as it is kept in its watermark. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kpid.plugin import Cursor


@dataclass(frozen=True, slots=True)
class Side:
    """A pass beside the main read: it has a cursor of its own, and never moves the main one.

    Args:
        kind: ``ids`` compares what the source lists, ``fields`` fetches old rows for fields that are new.
        began: when it began, as ISO text: rows written since have been seen by the main read.
        cursor: where to go on.
        run: name under which it keeps what it has met.
        wanted: the fields that are new.
        met: how many records it has met.
        missed: how many of them had changed unnoticed.
        example: one of these.
    """

    kind: Literal["ids", "fields"]
    began: str
    cursor: Cursor | None = None
    run: str | None = None
    wanted: tuple[str, ...] = ()
    met: int = 0
    missed: int = 0
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on.

    Args:
        read: the connector's own cursor of the pages.
        deleted: its cursor of the delete pass.
        run: name of the full read in progress, under which it keeps what it has met; None between reads.
        asked: the source's fields that the last complete read asked for; empty: unknown.
        side: the pass beside the main read that is in progress.
        listed_at: when the source's ids were last compared to the end, as ISO text.
        rest: what a newer kpid has kept here; it is not lost.
    """

    read: Cursor | None = None
    deleted: Cursor | None = None
    run: str | None = None
    asked: tuple[str, ...] = ()
    side: Side | None = None
    listed_at: str | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any] | None:
        """For the watermark; None if there is nothing to remember."""
        values: dict[str, Any] = {
            **self.rest,
            "read": self.read,
            "deleted": self.deleted,
            "run": self.run,
            "asked": sorted(self.asked) or None,
            "side": self.side and _kept(
                {"kind": self.side.kind, "began": self.side.began, "cursor": self.side.cursor, "run": self.side.run,
                 "wanted": sorted(self.side.wanted) or None, "met": self.side.met or None,
                 "missed": self.side.missed or None, "example": self.side.example}
            ),
            "listed_at": self.listed_at,
        }  # fmt: skip
        return _kept(values) or None


def position_from_json(value: Mapping[str, Any] | None) -> Position:
    """Back from the watermark."""
    value = value or {}
    own = ("read", "deleted", "run", "asked", "side", "listed_at")
    return Position(
        value.get("read"),
        value.get("deleted"),
        value.get("run"),
        tuple(value.get("asked") or ()),
        _side(value.get("side")),
        value.get("listed_at"),
        {name: kept for name, kept in value.items() if name not in own},
    )


def _side(value: Mapping[str, Any] | None) -> Side | None:
    if value is None:
        return None
    wanted = tuple(value.get("wanted") or ())
    counts = (value.get("met") or 0, value.get("missed") or 0, value.get("example"))
    return Side(value["kind"], value["began"], value.get("cursor"), value.get("run"), wanted, *counts)


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items() if value is not None}
