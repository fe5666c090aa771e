"""Which records belong together: associations, as lists show them and as batches give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kpid.plugin import HttpClient, Response, SchemaError, dig
from kpid_hubspot.objects import Kind

LINK_BATCH = 1000
PRIMARY = {1, 5, 26}
"""Type ids of "primary company" for contacts, deals and tickets."""


def links_of(http: HttpClient, version: str, kind: Kind, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Per record id, the most important associated record of each type, by batch."""
    links: dict[str, dict[str, str]] = {id_: {} for id_ in ids}
    for to in kind.links:
        for chunk in chunks(ids, LINK_BATCH):
            query = {"inputs": [{"id": id_} for id_ in chunk]}
            for found in results_of(http.post(f"/crm/associations/{version}/{kind.name}/{to}/batch/read", json=query)):
                links[str(found["from"]["id"])][to] = _primary(found["to"])
    return links


def _primary(linked: Sequence[Mapping[str, Any]]) -> str:
    """Of the associated records the one marked as primary, else the first."""
    for found in linked:
        if any(kind.get("typeId") in PRIMARY or kind.get("label") == "Primary" for kind in found.get("associationTypes", ())):
            return str(found["toObjectId"])
    return str(linked[0]["toObjectId"])


def inline_links(record: Mapping[str, Any]) -> dict[str, str]:
    """The same from a list: there the primary one has a type without ``_unlabeled``."""
    links = {}
    for to, found in (record.get("associations") or {}).items():
        targets = sorted(found.get("results") or (), key=lambda target: str(target.get("type", "")).endswith("_unlabeled"))
        if targets:
            links[to] = str(targets[0]["id"])
    return links


def results_of(response: Response) -> list[Mapping[str, Any]]:
    """The ``results`` of a reply.

    Raises:
        SchemaError: there are none, or no records in them.
    """
    results = dig(response.json(), "results")
    if not isinstance(results, list) or not all(isinstance(found, dict) for found in results):
        raise SchemaError("HubSpot's reply has no list of results", hint="Check base_url and api_version")
    return results


def chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """So many at once."""
    return (ids[start : start + size] for start in range(0, len(ids), size))
