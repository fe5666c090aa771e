"""How HubSpot shows records, associations and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kpid.testing.api import Answer
from kpid.testing.hubspot_portal import HubSpotPortal, Record, stamp

_DEFAULTS = {"hs_object_id", "createdate", "hs_lastmodifieddate", "lastmodifieddate"}


def shown(
    portal: HubSpotPortal,
    kind: str,
    record: Record,
    wanted: Iterable[str],
    history: Sequence[str] = (),
    links: Sequence[str] = (),
) -> dict[str, Any]:
    """A record as the API shows it: only the properties asked for that exist, or a few if none was."""
    known = portal.known(kind)
    every = {name: value for name, value in record.all_properties(kind).items() if name in known}
    names = [*(name for name in wanted if name in known), "hs_object_id"]
    properties = {name: every.get(name) for name in names} if len(names) > 1 else _defaults(every)
    result: dict[str, Any] = {
        "id": str(record.id), "properties": properties,
        "createdAt": stamp(record.created), "updatedAt": stamp(record.updated), "archived": record.archived_at is not None,
    }  # fmt: skip
    if record.archived_at is not None:
        result["archivedAt"] = stamp(record.archived_at)
    if history:
        result["propertiesWithHistory"] = {name: _versions(record, name) for name in history if name in known}
    if any(record.links.get(to) for to in links):
        result["associations"] = {to: {"results": _inline(kind, to, record.links[to])} for to in links if record.links.get(to)}
    return result


def _defaults(every: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in every.items() if name in _DEFAULTS}


def _versions(record: Record, name: str) -> list[dict[str, str]]:
    """Newest first."""
    return [
        {"value": value, "timestamp": stamp(at), "sourceType": "CRM_UI"} for value, at in reversed(record.history.get(name, ()))
    ]


def association(target: int, kind: str, to: str, place: int) -> dict[str, Any]:
    """One of a record's associations, as batches show it."""
    types = [{"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None}]
    if place == 0 and kind in {"deals", "tickets"} and to == "companies":
        types.append({"category": "HUBSPOT_DEFINED", "typeId": 5, "label": "Primary"})
    return {"toObjectId": target, "associationTypes": types}


def _inline(kind: str, to: str, linked: Sequence[int]) -> list[dict[str, str]]:
    """As lists show them: the same id twice if it is the primary one, which need not come first."""
    name = f"{kind.rstrip('s')}_to_{to.rstrip('s')}"
    plain = [{"id": str(target), "type": f"{name}_unlabeled"} for target in reversed(linked)]
    return [*plain, {"id": str(linked[0]), "type": name}]


def paged(results: Sequence[Any], after: int, limit: int) -> dict[str, Any]:
    """A page of a list by offset; without ``paging`` at its end."""
    body: dict[str, Any] = {"results": list(results[after : after + limit])}
    return body | ({"paging": {"next": {"after": str(after + limit)}}} if after + limit < len(results) else {})


def error(status: int, category: str, message: str) -> Answer:
    """An error."""
    body = {"status": "error", "message": message, "category": category, "correlationId": "00000000-0000-0000-0000-000000000000"}
    return Answer(status, body)
