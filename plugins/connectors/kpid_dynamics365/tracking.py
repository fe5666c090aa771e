"""What has changed in a table: by its delta link where changes are tracked, by ``modifiedon`` where they are not.

What is kept of a table between runs is one of

* ``{"delta": link, "select": columns}``: the link to what changes next; ``next`` within a long answer, and ``since`` while a read
  by time still has to cover the time of the first read;
* ``{"pull": link or null, "select": columns, "started": instant}``: within the first read, of all rows; ``least`` leaves out
  what did not change since then: for who wants that again has to have a new link, too;
* ``{"again": instant}``: what changed since then is wanted again;
* ``{"course": cursor}``: a read by time, see :class:`kpid.plugin.Course`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from kpid.plugin import Course, HttpFailure, SchemaError, Tombstone
from kpid_dynamics365.endpoints import Batch, Endpoints, window
from kpid_dynamics365.tables import Kind

OVERLAP = timedelta(minutes=5)
REFUSED = frozenset({400, 404, 410, 412})
"""Statuses with which a link that is too old is refused; which of them it is, is not documented."""

State: TypeAlias = Mapping[str, Any]
Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Some changes, and what to keep once they are stored; ``through``: all up to this instant has been seen."""

    records: Sequence[Record]
    state: State
    through: datetime | None = None
    gone: Sequence[Tombstone] = field(default=())


class Tracking:
    """Reads what has changed in one table.

    Args:
        api: the environment.
        kind: the table.
        until: when this run began, by the service's clock.
    """

    def __init__(self, api: Endpoints, kind: Kind, until: datetime) -> None:
        self._api = api
        self._kind = kind
        self._until = until

    def steps(self, state: State | None) -> Iterator[Step]:
        """All that came since ``state``; the last step says through when."""
        if state is None or "again" in state:
            state = self._beginning((state or {}).get("again"))
        while "delta" in state:
            try:
                yield from self._changes(state)
            except HttpFailure as failure:
                if failure.status not in REFUSED:
                    raise
                # where a killed run broke off is forgotten; or the link is too old, or a column that it names is gone
                state = {name: state[name] for name in state if name != "next"} if "next" in state else self._beginning()
            else:
                return
        if "pull" in state:
            yield from self._pulled(state)
        else:
            yield from self._by_time(state.get("course"))

    def _beginning(self, least: str | None = None) -> State:
        if not self._api.found(self._kind).tracked:
            return {"course": None if least is None else {"since": least}}
        fresh = {"pull": None, "select": self._select, "started": self._until.isoformat()}
        return fresh if least is None else {**fresh, "least": least}

    @property
    def _select(self) -> list[str]:
        return [self._kind.key, *self._api.found(self._kind).select]

    # -- tracked -------------------------------------------------------------------------------------------------------------

    def _pulled(self, state: State) -> Iterator[Step]:
        """All rows, then what changed while they were read.

        Whether the delta link stands for the beginning or for the end of a read of several pages is not documented.
        """
        pages, link = 0, state["pull"]
        try:
            for batch in self._api.read(link or self._api.address(self._kind, state["select"]), self._kind, tracked=True):
                pages += 1
                records = _since(batch.records, state.get("least"))
                if batch.next is not None:
                    state = {**state, "pull": batch.next}
                    yield Step(records, state)
                    continue
                yield from self._last_pulled(replace(batch, records=records), state, is_only=pages == 1 and link is None)
        except (HttpFailure, SchemaError) as error:
            if isinstance(error, HttpFailure) and error.status not in REFUSED:
                raise
            if link is None and pages == 0:  # our user sees only a part of the table: then its changes are not told
                yield from self._by_time({"since": state["least"]} if "least" in state else None)
            elif pages == 0:  # where a killed run broke off is not remembered any more
                yield from self._pulled(self._beginning()) if self._api.found(self._kind).tracked else self._by_time(None)
            else:
                raise

    def _last_pulled(self, batch: Batch, state: State, *, is_only: bool) -> Iterator[Step]:
        if batch.delta is None:
            course = {"since": state["started"]}
            yield Step(batch.records, {"course": course})
            yield from self._by_time(course)
        elif is_only:
            yield Step(batch.records, {"delta": batch.delta, "select": state["select"]}, self._until)
        else:
            kept = {"delta": batch.delta, "select": state["select"], "since": state["started"]}
            yield Step(batch.records, kept)
            yield from self._changes(kept)

    def _changes(self, state: State) -> Iterator[Step]:
        """What the delta link tells, after what a long first read may have missed."""
        kept = {"delta": state["delta"], "select": state["select"]}
        if "since" in state:
            start = datetime.fromisoformat(state["since"]) - OVERLAP
            order = f"modifiedon,{self._kind.key}"
            link = self._api.address(self._kind, self._select, filter=window(start, None), orderby=order)
            for batch in self._api.read(link, self._kind):
                yield Step(batch.records, state if batch.next is not None else kept)
        for batch in self._api.read(state.get("next") or state["delta"], self._kind):
            records, gone = self._told(batch.records, state["select"])
            if batch.next is not None:
                yield Step(records, {**kept, "next": batch.next}, gone=gone)
            else:
                following = {"delta": batch.delta or kept["delta"], "select": state["select"]}
                yield Step(records, following, self._until, gone)

    def _told(self, told: Sequence[Record], select: Sequence[str]) -> tuple[list[Record], list[Tombstone]]:
        """The rows of a page of changes, and what is gone. Rows without columns that we ask for by now are read anew."""
        gone = [Tombstone(self._kind.prefix + _guid(str(row["id"]))) for row in told if _is_deleted(row)]
        records = [row for row in told if not _is_deleted(row)]
        if records and not set(self._select) <= set(select):
            records = list(self._api.by_id(self._kind, [str(row[self._kind.key]) for row in records]))
        return records, gone

    # -- by time -------------------------------------------------------------------------------------------------------------

    def _by_time(self, cursor: State | None) -> Iterator[Step]:
        """What changed by its ``modifiedon``; page links hold the last row's time and id, so equal times lose nothing."""
        course = Course((self._kind.logical,), cursor, self._until, overlap=OVERLAP)
        for page in course.still():
            yield Step((), {"course": page.cursor}, page.through)
        for leg in course.legs():
            options = {"orderby": f"modifiedon,{self._kind.key}"}
            if leg.start is not None:
                options["filter"] = window(leg.start, leg.end)
            fresh = self._api.address(self._kind, self._select, **options)
            for batch in self._resumed(leg.place, fresh):
                if batch.next is not None:
                    yield Step(batch.records, {"course": leg.at(batch.next)})
                else:
                    after, through = leg.done()
                    yield Step(batch.records, {"course": after}, through)

    def _resumed(self, link: str | None, fresh: str) -> Iterator[Batch]:
        """Goes on where a killed run broke off; if that is not remembered any more, from the beginning."""
        pages = 0
        if link is not None:
            try:
                for batch in self._api.read(link, self._kind):
                    pages += 1
                    yield batch
            except HttpFailure as failure:
                if failure.status not in REFUSED or pages:
                    raise
        if not pages:
            yield from self._api.read(fresh, self._kind)


def _since(records: Sequence[Record], least: str | None) -> Sequence[Record]:
    """Of rows of all times those that changed at ``least`` or later, an overlap earlier for certain."""
    if least is None:
        return records
    start = datetime.fromisoformat(least) - OVERLAP
    return [row for row in records if not row.get("modifiedon") or datetime.fromisoformat(row["modifiedon"]) >= start]


def _is_deleted(row: Record) -> bool:
    return str(row.get("@odata.context", "")).endswith("$deletedEntity") or ("reason" in row and "id" in row)


def _guid(told: str) -> str:
    """An id, told as it is or as an address that ends in it."""
    return told.rpartition("(")[2].rstrip(")") if told.endswith(")") else told.rpartition("/")[2]
