"""A portal's pipelines and stages: what a stage means, and which pipelines are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kpid.plugin import SchemaError
from kpid_hubspot.endpoints import Endpoints
from kpid_hubspot.links import results_of
from kpid_hubspot.objects import Kind
from kpid_hubspot.settings import HubSpotSettings
from kpid_hubspot.values import Record, Stage, number


class Pipelines:
    """The portal's pipelines, asked for when they are needed and remembered for the length of a sync.

    Args:
        api: the portal.
        settings: pipelines to read, and what stages mean where HubSpot does not say it.
    """

    def __init__(self, api: Endpoints, settings: HubSpotSettings) -> None:
        self._api = api
        self._named = set(settings.pipelines)
        self._states: Mapping[str, Mapping[str, str]] = {"deals": settings.stages, "tickets": settings.ticket_states}
        self._stages: dict[str, dict[str, Stage]] = {}
        self._unknown: set[str] = set()
        self._wanted: set[str] | None = None

    def all(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """The pipelines of deals or tickets as the API gives them, with their stages; asked anew each time."""
        return results_of(self._api.http.get(f"/crm/pipelines/{self._api.version}/{kind}"))

    def stages(self, kind: str, pipelines: Sequence[Mapping[str, Any]]) -> dict[str, Stage]:
        """The stages of some pipelines by id."""
        return stages_of(pipelines, self._states.get(kind, {}))

    def stages_for(self, kind: Kind, records: Sequence[Record]) -> Mapping[str, Stage]:
        """The stages of a type; read anew when records name one that was not there (a pipeline added meanwhile)."""
        if kind.name not in self._states:
            return {}
        named = {str(stage) for record in records if (stage := record["properties"].get(kind.stage))}
        if kind.name not in self._stages or named - self._stages[kind.name].keys() - self._unknown:
            self._stages[kind.name] = self.stages(kind.name, self.all(kind.name))
            self._unknown |= named - self._stages[kind.name].keys()
        return self._stages[kind.name]

    def wanted(self) -> set[str]:
        """Ids of the configured pipelines; empty = all.

        Raises:
            SchemaError: there is no such pipeline.
        """
        if self._wanted is None:
            named = self._named
            pipelines = self.all("deals") if named else ()
            known = {text for found in pipelines for text in (str(found["id"]), str(found.get("label")))}
            if named - known:
                raise SchemaError(
                    f"HubSpot has no pipeline {', '.join(sorted(named - known))}",
                    where=self._api.http.name,
                    hint=f"There are: {', '.join(sorted(known))}",
                )
            self._wanted = {str(found["id"]) for found in pipelines if {str(found["id"]), str(found.get("label"))} & named}
        return self._wanted


def stages_of(pipelines: Sequence[Mapping[str, Any]], states: Mapping[str, str]) -> dict[str, Stage]:
    """All stages by id. Won and lost are told by their metadata, never by their names: companies rename them.

    Args:
        pipelines: as the API gives them.
        states: what stages mean by configuration, by id or name.
    """
    found = {}
    for pipeline in pipelines:
        for stage in pipeline.get("stages", ()):
            state, probability = _meaning(stage.get("metadata") or {})
            state = states.get(str(stage["id"])) or states.get(str(stage.get("label"))) or state
            found[str(stage["id"])] = Stage(str(stage["id"]), str(pipeline["id"]), state, probability)
    return found


def _meaning(metadata: Mapping[str, Any]) -> tuple[str, Decimal | None]:
    ticket = str(metadata.get("ticketState") or "").upper()
    if ticket:
        return ("closed" if ticket == "CLOSED" else "open"), None
    odds = number(str(metadata.get("probability") or "") or None)
    probability = odds if isinstance(odds, Decimal) and odds.is_finite() else None
    if str(metadata.get("isClosed", "")).lower() != "true":
        return "open", probability
    return ("won" if probability is not None and probability >= 1 else "lost"), probability
