"""What is read as a whole each time: people, pipelines with their stages, exchange rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kpid.plugin import NextToken, Page, Response, read_pages
from kpid_hubspot.commerce_rows import rate_rows
from kpid_hubspot.endpoints import LIST_PAGE, Endpoints
from kpid_hubspot.links import results_of
from kpid_hubspot.metadata_rows import owner_row, pipeline_row, stage_rows
from kpid_hubspot.pipelines import Pipelines
from kpid_hubspot.values import Place


class Whole:
    """Reads what HubSpot gives only as a whole.

    Args:
        api: the portal.
        pipelines: the portal's pipelines.
        place: what the mapping has to know.
    """

    def __init__(self, api: Endpoints, pipelines: Pipelines, place: Place) -> None:
        self._api = api
        self._pipelines = pipelines
        self._place = place

    def pages(self, entity: str, until: datetime) -> Iterator[Page]:
        """All of an entity."""
        match entity:
            case "users":
                people = [
                    *self._all("users", archived="true"),
                    *self._all("users", archived="false"),
                ]  # former ones are a list apart
                yield Page({"users": [owner_row(owner) for owner in people]}, through=until)
            case "pipelines":
                yield self._with_stages(until)
            case "fx_rates":
                yield Page({"fx_rates": rate_rows(self._all("fx_rates"), self._place)}, through=until)

    def first(self, entity: str) -> Response:
        """The smallest request that shows whether an entity may be read."""
        return self._api.http.get(self._path(entity), params={"limit": 1})

    def _path(self, entity: str) -> str:
        version = self._api.version
        return {
            "users": f"/crm/owners/{version}",
            "pipelines": f"/crm/pipelines/{version}/deals",
            "fx_rates": f"/settings/currencies/{version}/exchange-rates",
        }[entity]

    def _all(self, entity: str, **params: str) -> Iterator[Mapping[str, Any]]:
        """All of a list."""
        asked = {"limit": LIST_PAGE, **params}
        for response in read_pages(self._api.http, self._path(entity), NextToken("paging.next.after", "after"), asked):
            yield from results_of(response)

    def _with_stages(self, until: datetime) -> Page:
        pipelines = self._pipelines.all("deals")
        known = self._pipelines.stages("deals", pipelines)
        stages = [row for pipeline in pipelines for row in stage_rows(pipeline, known)]
        return Page({"pipelines": [pipeline_row(pipeline) for pipeline in pipelines], "stages": stages}, through=until)
