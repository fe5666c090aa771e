"""What is read as a whole each time: people, pipelines with their stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kpid.plugin import NextToken, Page, Response, read_pages
from kpid_hubspot.endpoints import LIST_PAGE, Endpoints
from kpid_hubspot.links import results_of
from kpid_hubspot.metadata_rows import owner_row, pipeline_row, stage_rows
from kpid_hubspot.pipelines import Pipelines


class Whole:
    """Reads what HubSpot gives only as a whole.

    Args:
        api: the portal.
        pipelines: the portal's pipelines.
    """

    def __init__(self, api: Endpoints, pipelines: Pipelines) -> None:
        self._api = api
        self._pipelines = pipelines

    def pages(self, entity: str, until: datetime) -> Iterator[Page]:
        """All of an entity."""
        match entity:
            case "users":
                people = [*self._owners(archived=True), *self._owners(archived=False)]
                yield Page({"users": [owner_row(owner) for owner in people]}, through=until)
            case "pipelines":
                yield self._with_stages(until)

    def first(self, entity: str) -> Response:
        """The smallest request that shows whether an entity may be read."""
        return self._api.http.get(self._path(entity), params={"limit": 1})

    def _path(self, entity: str) -> str:
        version = self._api.version
        return {"users": f"/crm/owners/{version}", "pipelines": f"/crm/pipelines/{version}/deals"}[entity]

    def _owners(self, *, archived: bool) -> Iterator[Mapping[str, Any]]:
        """People; former ones are in a list of their own."""
        params = {"limit": LIST_PAGE, "archived": "true" if archived else "false"}
        for response in read_pages(self._api.http, self._path("users"), NextToken("paging.next.after", "after"), params):
            yield from results_of(response)

    def _with_stages(self, until: datetime) -> Page:
        pipelines = self._pipelines.all("deals")
        known = self._pipelines.stages("deals", pipelines)
        stages = [row for pipeline in pipelines for row in stage_rows(pipeline, known)]
        return Page({"pipelines": [pipeline_row(pipeline) for pipeline in pipelines], "stages": stages}, through=until)
