"""Open deals, read once a day however old they are: linking a deal to another company or contact does not change it.

Cursors have two keys more: ``linked`` is when that was done last, ``after`` the deal behind which a killed run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kpid.plugin import Cursor, Page
from kpid_hubspot.endpoints import Endpoints
from kpid_hubspot.objects import Kind

DAY = timedelta(days=1)
OPEN: Mapping[str, Any] = {"propertyName": "hs_is_closed", "operator": "EQ", "value": "false"}
Fetch = Callable[[Sequence[str]], Iterator[Page]]


class OpenDeals:
    """Follows the pages of what changed by those of open deals, when a day has passed.

    Args:
        api: the portal.
        most: if more deals are open, they are left to a full read: the search index says how many.
        fetch: gives the pages of some deals.
    """

    def __init__(self, api: Endpoints, most: int, fetch: Fetch) -> None:
        self._api = api
        self._most = most
        self._fetch = fetch

    def after(
        self, pages: Iterator[Page], kind: Kind, filters: Sequence[Mapping[str, Any]], cursor: Cursor | None, until: datetime
    ) -> Iterator[Page]:
        """The pages, and then those of open deals.

        Args:
            pages: what changed.
            kind: the type of deals.
            filters: which of them are read at all.
            cursor: where the last run ended; None: all is read, links and all.
            until: upper bound of this run.
        """
        begun = dict(cursor or {"linked": until.isoformat()})
        own = {name: begun[name] for name in ("linked", "after") if begun.get(name)}
        last = Page({})
        for page in pages:
            last = replace(page, cursor={**page.cursor, **own} if page.cursor is not None else None)
            yield last
        is_whole = last.through is not None and last.cursor is not None
        if is_whole and self._most and ("linked" not in own or until - datetime.fromisoformat(own["linked"]) >= DAY):
            yield from self._open(kind, filters, last, until)

    def _open(self, kind: Kind, filters: Sequence[Mapping[str, Any]], last: Page, until: datetime) -> Iterator[Page]:
        cursor = dict(last.cursor or {})
        done = {name: value for name, value in cursor.items() if name != "after"} | {"linked": until.isoformat()}
        for batch in self._api.search(kind, [*filters, OPEN], after=cursor.get("after", "0")):
            if (batch.total or 0) > self._most:
                break
            for page in self._fetch([str(record["id"]) for record in batch.records]):
                yield replace(page, cursor=cursor, through=last.through)
            cursor = {**cursor, "after": batch.after or ""}
        yield Page({}, done, last.through)
