"""The course of a read through time: which window comes next, and which cursor belongs to which page. Pure.

One implementation for all connectors of three rules: windows begin an overlap before the last one's end and are inclusive; they
end at a fixed instant; the cursor moves only behind what has been stored, and never back.

    course = Course(("calls", "meetings"), cursor, until, overlap=OVERLAP)
    yield from course.still()
    for leg in course.legs():
        for batch in api.changed(leg.kind, leg.start, leg.end, leg.place):
            if batch.is_last:
                new_cursor, through = leg.done()
                yield Page(rows, new_cursor, through)
            else:
                yield Page(rows, leg.at(batch.place))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from kpid.plugin.connector import Cursor, Page

ZERO = timedelta(0)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Leg:
    """One kind of record in one window ``[start, end)``.

    Args:
        kind: the vendor's type.
        start: records changed at this instant or later; None: all records, whenever they changed.
        end: records changed before this instant; of a read of all records no filter, but what the cursor will say.
        place: where an earlier run broke off within the leg, in the connector's own words; None at its beginning.
        following: the kind after this one; None for the last.
    """

    kind: str
    start: datetime | None
    end: datetime
    place: Any = None
    following: str | None = field(default=None, repr=False)

    def at(self, place: Any) -> Cursor:
        """The cursor of a page that is not the last of its kind: ``place`` (JSON-able) is where to go on within the leg."""
        return self._within(self.kind, place)

    def done(self) -> tuple[Cursor, datetime | None]:
        """The cursor of the last page of this kind, and the instant up to which all is seen: only after the last kind."""
        if self.following is not None:
            return self._within(self.following, None), None
        return {"since": self.end.isoformat()}, self.end

    def _within(self, kind: str, place: Any) -> Cursor:
        start = None if self.start is None else self.start.isoformat()
        return {"window": [start, self.end.isoformat()], "kind": kind, "place": place}


class Course:
    """The legs of one read of an entity: what a killed run began, then what came since.

    Cursors are ``{"since": instant}`` between reads, and within one ``{"window": [start, end], "kind": ..., "place": ...}``.

    Args:
        kinds: the vendor's types that fill the entity, in order; at least one.
        cursor: where the last run ended; None: everything is read.
        until: upper bound of this run, by the source's clock.
        overlap: how far before the last end a window begins: changes show late, and instants are shared.
        lag: how far the source's index is behind: windows end so long before ``until``.
        grain: ``day`` if the source only knows the day of a change: a window then begins a whole day earlier.
        limit_start: a read of everything begins here; None: at the beginning of time.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        cursor: Cursor | None,
        until: datetime,
        *,
        overlap: timedelta,
        lag: timedelta = ZERO,
        grain: Literal["exact", "day"] = "exact",
        limit_start: datetime | None = None,
    ) -> None:
        self._kinds = tuple(kinds)
        self._until = until - lag
        self._overlap = overlap
        self._grain = grain
        self._limit_start = limit_start
        self._cursor: Cursor = cursor or {}

    def still(self) -> Iterator[Page]:
        """An empty page that keeps the mark where it is, if there is nothing to read (the clock may go back)."""
        since = self._since()
        if since is not None and self._until <= since:
            yield Page({}, {"since": since.isoformat()}, since)

    def legs(self) -> Iterator[Leg]:
        """What to read, in order. The caller reads each leg to its end before it asks for the next."""
        since = self._since()
        if since is None:
            start, end, first, place = self._begun()
            yield from self._window(start, end, first, place)
            since = end
        if since < self._until:
            yield from self._window(self._early(since), self._until, self._kinds[0], None)

    def _since(self) -> datetime | None:
        """Up to where all is read; None within a window, or if nothing has been read."""
        told = self._cursor.get("since")
        return None if told is None else datetime.fromisoformat(told)

    def _begun(self) -> tuple[datetime | None, datetime, str, Any]:
        """The window that a killed run began, or the first of all."""
        if "window" not in self._cursor:
            return self._limit_start, self._until, self._kinds[0], None
        start, end = (value and datetime.fromisoformat(value) for value in self._cursor["window"])
        kind, place = self._cursor.get("kind"), self._cursor.get("place")
        if kind not in self._kinds:  # the configuration has changed: the window once more, from its first kind on
            kind, place = self._kinds[0], None
        return start, end, kind, place

    def _window(self, start: datetime | None, end: datetime, first: str, place: Any) -> Iterator[Leg]:
        kinds = self._kinds[self._kinds.index(first) :]
        for kind, following in zip(kinds, [*kinds[1:], None], strict=True):
            yield Leg(kind, start, end, place if kind == first else None, following)

    def _early(self, since: datetime) -> datetime:
        start = since - self._overlap
        if self._grain == "day":
            start = start.replace(hour=0, minute=0, second=0, microsecond=0) - DAY
        return start


def cursor_since(at: datetime) -> Cursor:
    """A cursor as if all that changed before ``at`` had been read."""
    return {"since": at.isoformat()}
