"""Marketing e-mails: what became of each, from the log of events.

A row tells all that happened to one e-mail, and the log tells what happened lately to all of them: where something happened in a
mailing, its events are read again as far back as sendings are followed. What was sent before that stays as it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from kpid.plugin import ConnectorError, Course, Cursor, Leg, Page, Response, SchemaError
from kpid_hubspot.endpoints import Endpoints
from kpid_hubspot.mailing_rows import Event, send_rows

EVENTS = "/email/public/v1/events"
"""The only address without a date: HubSpot supports it until September 2027, and its successor is for Enterprise portals."""
PAGE = 1000
LATE = timedelta(hours=1)
"""Events show late: receiving servers answer when they like."""
AT_ONCE = 5000
"""Rows of one page."""


class Mailings:
    """Reads what became of marketing e-mails.

    Args:
        api: the portal.
        days: for so many days after its sending an e-mail is followed.
    """

    def __init__(self, api: Endpoints, days: int) -> None:
        self._api = api
        self._followed = timedelta(days=days)

    def first(self) -> Response:
        """The smallest request that shows whether events may be read."""
        return self._api.http.get(EVENTS, params={"limit": 1})

    def pages(self, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector."""
        course = Course(("events",), cursor, until, overlap=LATE, limit_start=until - self._followed)
        yield from course.still()
        for leg in course.legs():
            yield from self._leg(leg)

    def _leg(self, leg: Leg) -> Iterator[Page]:
        start, after = leg.start or leg.end - self._followed, (leg.place or {}).get("after", "")
        touched = {_mailing(event): (event.get("appId"), event.get("emailCampaignId")) for event in self._events(start, leg.end)}
        wanted = sorted(key for key in touched if key > after)
        if not wanted:
            cursor, through = leg.done()
            yield Page({}, cursor, through)
        for key in wanted:
            app, campaign = touched[key]
            rows = send_rows(self._events(leg.end - self._followed, leg.end, appId=app, campaignId=campaign))
            for begin in range(0, max(len(rows), 1), AT_ONCE):
                cursor, through = leg.at({"after": after}), None
                if begin + AT_ONCE >= len(rows):
                    cursor, through = leg.done() if key == wanted[-1] else (leg.at({"after": key}), None)
                yield Page({"email_sends": rows[begin : begin + AT_ONCE]}, cursor, through)
            after = key

    def _events(self, start: datetime, end: datetime, **only: Any) -> Iterator[Event]:
        span = {"startTimestamp": round(start.timestamp() * 1000), "endTimestamp": round(end.timestamp() * 1000)}
        params = {**span, **{name: value for name, value in only.items() if value is not None}, "limit": PAGE}
        met = set[str]()
        while True:
            body = self._api.http.get(EVENTS, params=params).json()
            events = body.get("events") if isinstance(body, dict) else None
            if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
                raise SchemaError("HubSpot's reply has no list of events", hint="Check base_url")
            yield from events
            if not body.get("hasMore"):
                return
            params["offset"] = str(body.get("offset"))
            if params["offset"] in met:
                raise ConnectorError("the list of e-mail events goes in a circle", where=self._api.http.name)
            met.add(str(params["offset"]))


def _mailing(event: Event) -> str:
    """What names a mailing, in an order."""
    return f"{event.get('appId') or ''}-{event.get('emailCampaignId') or ''}"
