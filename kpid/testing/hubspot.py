"""A HubSpot API on this machine that behaves like the real one, its traps included.

Lists of 100 (50 with history) in id order with no ``paging`` at the end; search capped at 10,000 results, late by an index lag,
blind to archived records and, with the wrong modified property, to everything; batch reads that answer 207 for what is gone; the
archived list; owners; pipelines; properties; limits of ten seconds and of a second (search); 401 for another token; an OAuth app
whose tokens last half an hour; 403 for a missing scope. Further faults: :func:`policy` and :meth:`kpid.testing.FakeApi.fail`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import Any

from kpid.testing.api import Answer, FakeApi, Fault, Request
from kpid.testing.clock import FakeClock
from kpid.testing.faults import limited
from kpid.testing.hubspot_marketing import Marketing
from kpid.testing.hubspot_portal import LABELS, HubSpotPortal, Record
from kpid.testing.hubspot_shapes import association, error, paged, shown
from kpid.testing.vendor import Limit, Tokens

VERSION = "2026-09"
TOKEN = "pat-eu1-00000000-fake-fake-fake-000000000000"  # noqa: S105  opens nothing
CLIENT_ID, CLIENT_SECRET = "fake-client", "fake-client-secret-0000"
SEARCH_CAP = 10_000
_OBJECTS = rf"/crm/objects/{VERSION}/(?P<kind>[a-z_]+)"


def policy(name: str, *, retry_after: str | None = None) -> Fault:
    """The 429 of a limit: ``TEN_SECONDLY_ROLLING``, ``SECONDLY`` or ``DAILY``."""
    body = {
        "status": "error", "message": f"You have reached your {name.lower()} limit.", "errorType": "RATE_LIMIT",
        "correlationId": "00000000-0000-0000-0000-000000000000", "policyName": name,
    }  # fmt: skip
    return limited(retry_after, body)


class FakeHubSpot(FakeApi):
    """The server. ``portal`` is what it serves.

    Args:
        portal: the records; None = an empty portal.
        clock: shared with the connector under test.
        index_lag: how late the search index shows a change.
        strict_limits: answer 429 when the documented limits are passed, by ``clock``.
    """

    def __init__(
        self,
        portal: HubSpotPortal | None = None,
        *,
        clock: FakeClock | None = None,
        index_lag: timedelta = timedelta(seconds=30),
        strict_limits: bool = True,
    ) -> None:
        clock = clock or FakeClock()
        super().__init__(clock)
        self.portal = portal or HubSpotPortal(clock)
        self.token = TOKEN
        """Opens always, as a private app's does."""
        self.tokens = Tokens(clock, life_s=1800)
        """Of an app that was installed by OAuth."""
        self.index_lag = index_lag
        self.missing_scopes: set[str] = set()
        self.unknown_objects: set[str] = set()
        """Types that the token may not read."""
        self._limits = [Limit(100, 10.0, "TEN_SECONDLY_ROLLING"), Limit(5, 1.0, "SECONDLY", "/search")] if strict_limits else []
        self.refused: list[str] = []
        """Names of the limits that were passed."""
        self._found: tuple[Any, list[Record]] = (None, [])
        self.route("POST", r"/oauth/2026-03/token", self._token)
        self.route("GET", _OBJECTS, self._list)
        self.route("POST", rf"{_OBJECTS}/search", self._search)
        self.route("POST", rf"{_OBJECTS}/batch/read", self._batch)
        self.route("POST", rf"/crm/associations/{VERSION}/(?P<kind>[a-z_]+)/(?P<to>[a-z_]+)/batch/read", self._associations)
        self.route("GET", rf"/crm/owners/{VERSION}", self._owners)
        self.marketing = Marketing(clock)
        self.route("GET", rf"/marketing/campaigns/{VERSION}", self.marketing.listed)
        self.route("GET", rf"/marketing/campaigns/{VERSION}/(?P<guid>[^/]+)/budget/totals", self.marketing.totals)
        self.route("GET", r"/email/public/v1/events", self.marketing.logged)
        self.route("GET", rf"/settings/currencies/{VERSION}/exchange-rates", self._rates)
        self.route("GET", rf"/crm/pipelines/{VERSION}/(?P<kind>[a-z_]+)", self._pipelines)
        self.route("GET", rf"/crm/properties/{VERSION}/(?P<kind>[a-z_]+)", self._properties)

    def answer(self, request: Request) -> Answer:
        """As any server, after a look at the token, the limits and the scopes."""
        refusal = self._refusal(request)
        if refusal is None:
            return super().answer(request)
        self.requests.append(request)
        return refusal

    def _refusal(self, request: Request) -> Answer | None:
        if request.path.startswith("/oauth/"):
            return None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != self.token and not self.tokens.is_good(token):
            return error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")
        for limit in self._limits:
            if limit.is_passed(request, self.clock.monotonic()):
                self.refused.append(limit.name)
                return policy(limit.name)(request, Answer())
        if named := [kind for kind in self.unknown_objects if f"/{kind}" in request.path]:
            return error(400, "VALIDATION_ERROR", f"Unable to infer object type from: {named[0]}")
        for kind in self.missing_scopes:
            if f"/{kind}" in request.path:
                context = {"requiredGranularScopes": [f"crm.objects.{kind}.read"]}
                refusal = error(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.")
                return Answer(
                    403,
                    {
                        **refusal.body,
                        "errors": [{"message": "One or more of the following scopes are required.", "context": context}],
                    },
                )
        return None

    # -- endpoints -----------------------------------------------------------------------------------------------------------

    def _token(self, request: Request) -> Answer:
        form = request.form()
        known = (form.get("grant_type"), form.get("client_id"), form.get("client_secret"))
        token = (
            self.tokens.exchange(form.get("refresh_token", "")) if known == ("refresh_token", CLIENT_ID, CLIENT_SECRET) else None
        )
        if token is None:
            return Answer(400, {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"})
        body = {"access_token": token, "expires_in": 1800, "token_type": "bearer", "hub_id": 1, "scopes": []}
        return Answer(200, {**body, "refresh_token": self.tokens.refresh_token})

    def _list(self, request: Request) -> Answer:
        kind, history = request.match["kind"], _names(request.arg("propertiesWithHistory"))
        limit = int(request.arg("limit", "10"))
        if limit > (50 if history else 100):
            return error(400, "VALIDATION_ERROR", f"limit must be less than or equal to {50 if history else 100}")
        archived = request.arg("archived") == "true"
        records = self.portal.archived(kind) if archived else self.portal.live(kind)
        after = int(request.arg("after") or 0)
        chosen = sorted(number for number in records if number >= after)[: limit + 1]
        wanted, links = _names(request.arg("properties")), _names(request.arg("associations"))
        results = [shown(self.portal, kind, records[number], wanted, history, links) for number in chosen[:limit]]
        body: dict[str, Any] = {"results": results}
        if len(chosen) > limit:
            body["paging"] = {
                "next": {"after": str(chosen[limit - 1] + 1), "link": f"{self.url}{request.path}?after={chosen[limit - 1] + 1}"}
            }
        return Answer(200, body)

    def _search(self, request: Request) -> Answer:
        kind, query = request.match["kind"], request.json()
        limit, after = int(query.get("limit", 10)), int(query.get("after") or 0)
        if limit > 200 or after + limit > SEARCH_CAP:
            return error(400, "VALIDATION_ERROR", "Limit or offset out of range")
        found = self._hits(kind, query)
        results = [shown(self.portal, kind, record, query.get("properties", ())) for record in found[after : after + limit]]
        body: dict[str, Any] = {"total": len(found), "results": results}
        if after + limit < len(found):
            body["paging"] = {"next": {"after": str(after + limit)}}
        return Answer(200, body)

    def _hits(self, kind: str, query: Mapping[str, Any]) -> list[Record]:
        """What the index finds, in id order; remembered for the next page of the same question."""
        horizon = self.clock.now() - self.index_lag
        filters = [
            (f["propertyName"], f["operator"], f.get("value"), f.get("values")) for f in query["filterGroups"][0]["filters"]
        ]
        key = (kind, repr(filters), self.portal.version, horizon)
        if self._found[0] != key:
            indexed = (self._indexed(kind, record, horizon) for record in self.portal.live(kind).values())
            hits = [record for record in indexed if record is not None and all(_fits(kind, record, *f) for f in filters)]
            self._found = (key, sorted(hits, key=lambda record: record.id))
        return self._found[1]

    def _indexed(self, kind: str, record: Record, horizon: datetime) -> Record | None:
        if record.updated <= horizon:
            return record
        before = self.portal.before.get((kind, record.id))
        return before if before is not None and before.updated <= horizon and before.archived_at is None else None

    def _batch(self, request: Request) -> Answer:
        kind, query = request.match["kind"], request.json()
        history = query.get("propertiesWithHistory") or []
        ids = [int(item["id"]) for item in query["inputs"]]
        if len(ids) > (50 if history else 100):
            return error(400, "VALIDATION_ERROR", "too many inputs")
        live = self.portal.live(kind)
        results = [
            shown(self.portal, kind, live[number], query.get("properties", ()), history) for number in ids if number in live
        ]
        missing = [str(number) for number in ids if number not in live]
        if not missing:
            return Answer(200, {"status": "COMPLETE", "results": results})
        errors = [
            {
                "status": "error",
                "category": "OBJECT_NOT_FOUND",
                "message": "Could not get some objects",
                "context": {"ids": missing},
            }
        ]
        return Answer(207, {"status": "COMPLETE", "results": results, "numErrors": 1, "errors": errors})

    def _associations(self, request: Request) -> Answer:
        kind, to = request.match["kind"], request.match["to"]
        ids = [int(item["id"]) for item in request.json()["inputs"]]
        if len(ids) > 1000:
            return error(400, "VALIDATION_ERROR", "too many inputs")
        results = []
        for number in ids:
            linked = self.portal.records[kind][number].links.get(to, ()) if number in self.portal.records[kind] else ()
            if linked:
                results.append(
                    {
                        "from": {"id": str(number)},
                        "to": [association(target, kind, to, place) for place, target in enumerate(linked)][::-1],
                    }
                )
        return Answer(200, {"status": "COMPLETE", "results": results})

    def _owners(self, request: Request) -> Answer:
        archived = request.arg("archived") == "true"
        owners = [owner for owner in self.portal.owners if owner["archived"] == archived]
        return Answer(200, paged(owners, int(request.arg("after") or 0), int(request.arg("limit", "100"))))

    def _rates(self, request: Request) -> Answer:
        return Answer(200, paged(self.portal.rates, int(request.arg("after") or 0), int(request.arg("limit", "100"))))

    def _pipelines(self, request: Request) -> Answer:
        return Answer(200, {"results": self.portal.pipelines.get(request.match["kind"], [])})

    def _properties(self, request: Request) -> Answer:
        names = sorted(self.portal.known(request.match["kind"]))
        return Answer(200, {"results": [{"name": name, "type": "string"} for name in names]})


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _fits(kind: str, record: Record, name: str, operator: str, value: Any, values: Any) -> bool:
    own = _indexed_value(kind, record, name)
    if operator == "HAS_PROPERTY":
        return bool(own)
    if own is None:
        return operator == "NOT_IN"
    if operator in {"EQ", "IN", "NOT_IN"}:
        return (own in (values or [value])) == (operator != "NOT_IN")
    return _COMPARE[operator](_number(own), _number(value))


_COMPARE: Mapping[str, Callable[[int, int], bool]] = {"GT": gt, "GTE": ge, "LT": lt, "LTE": le}


def _indexed_value(kind: str, record: Record, name: str) -> str | int | None:
    if name == "hs_object_id":
        return record.id
    if name == ("lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"):
        return round(record.updated.timestamp() * 1000)
    if name == "hs_is_closed" and kind == "deals" and name not in record.properties:
        return LABELS.get(record.properties.get("dealstage") or "", ("", "false", ""))[1]
    return record.properties.get(name)


def _number(text: str | int) -> int:
    if isinstance(text, int) or text.isdigit():
        return int(text)
    return round(datetime.fromisoformat(text).timestamp() * 1000)
