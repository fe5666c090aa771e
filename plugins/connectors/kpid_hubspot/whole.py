"""What is read as a whole each time: people, pipelines with their stages, exchange rates, campaigns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from kpid.plugin import HttpFailure, NextToken, Page, Response, SchemaError, read_pages
from kpid_hubspot.commerce_rows import rate_rows
from kpid_hubspot.endpoints import LIST_PAGE, Endpoints
from kpid_hubspot.links import results_of
from kpid_hubspot.marketing_rows import campaign_row, cost_rows
from kpid_hubspot.metadata_rows import owner_row, pipeline_row, stage_rows
from kpid_hubspot.pipelines import Pipelines
from kpid_hubspot.values import Place

CAMPAIGN = ("hs_name", "hs_start_date", "hs_end_date", "hs_campaign_status", "hs_owner")
NOT_FOUND = 404
AT_ONCE = 25
"""Campaigns of one page."""


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
            case "campaigns":
                yield from self._campaigns(until)

    def first(self, entity: str) -> Response:
        """The smallest request that shows whether an entity may be read."""
        return self._api.http.get(self._path(entity), params={"limit": 1})

    def _path(self, entity: str) -> str:
        version = self._api.version
        return {
            "users": f"/crm/owners/{version}",
            "pipelines": f"/crm/pipelines/{version}/deals",
            "fx_rates": f"/settings/currencies/{version}/exchange-rates",
            "campaigns": f"/marketing/campaigns/{version}",
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

    def _campaigns(self, until: datetime) -> Iterator[Page]:
        """Campaigns with what was spent on them: one more question for each."""
        found = list(self._all("campaigns", properties=",".join(CAMPAIGN)))
        for chunk in [found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE)] or [[]]:
            costs = [row for campaign in chunk for row in cost_rows(campaign, self._totals(str(campaign["id"])), self._place)]
            rows = [campaign_row(campaign, self._place) for campaign in chunk]
            is_last = not found or chunk[-1] is found[-1]
            yield Page({"campaigns": rows, "campaign_costs": costs}, through=until if is_last else None)

    def _totals(self, campaign: str) -> Mapping[str, Any]:
        try:
            body = self._api.http.get(f"{self._path('campaigns')}/{quote(campaign, safe='')}/budget/totals").json()
        except HttpFailure as failure:
            if failure.status == NOT_FOUND:  # it went meanwhile, or has no budget
                return {}
            raise
        if not isinstance(body, dict):
            raise SchemaError("HubSpot's reply has no totals of a budget", hint="Check base_url and api_version")
        return body
