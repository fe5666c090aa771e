"""What the fake of Salesforce has beside queries: composite requests, counts of records, the stages of record types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from kpid.testing.api import Answer, Request
from kpid.testing.salesforce_objects import OBJECTS, records_of

if TYPE_CHECKING:
    from kpid.testing.salesforce import FakeSalesforce


class Beside:
    """These resources of an organisation.

    Args:
        api: where they are asked for.
        root: path of the API's version.
    """

    def __init__(self, api: FakeSalesforce, root: str) -> None:
        self._api = api
        api.route("POST", f"{root}/composite", self._composite)
        api.route("GET", f"{root}/limits/recordCount", self._counts)
        stages = f"{root}/ui-api/object-info/Opportunity/picklist-values/(?P<type>\\w+)/StageName"
        api.route("GET", stages, self._picklist)

    def _composite(self, request: Request) -> Answer:
        """Queries that stand in a body: their addresses may be long."""
        answers = []
        for asked in request.json()["compositeRequest"]:
            path, _, query = asked["url"].partition("?")
            way = {"way": path.rpartition("/")[2]}
            inner = replace(request, method=asked["method"], path=path, query=parse_qs(query), body=b"", match=way)
            forbidden = self._api.scope_of(inner) is not None
            found = self._api.error("scope", inner) if forbidden else self._api.asked(inner)
            answers.append({"body": found.body, "httpStatusCode": found.status, "referenceId": asked["referenceId"]})
        return Answer(200, {"compositeResponse": answers})

    def _counts(self, request: Request) -> dict[str, Any]:
        """About how many records there are, whoever may see them."""
        names = [name for name in request.arg("sObjects").split(",") if name in OBJECTS]
        counts = [{"name": name, "count": sum(1 for _ in records_of(self._api.crm, name, gone=False))} for name in names]
        return {"sObjects": counts}

    def _picklist(self, request: Request) -> Answer:
        kind = request.match["type"]
        if kind not in self._api.offered:
            error = {"message": "The requested resource does not exist", "errorCode": "INVALID_RESOURCE_ID"}
            return Answer(404, [error])
        return Answer(
            200, {"controllerValues": {}, "values": [{"label": name, "value": name} for name in self._api.offered[kind]]}
        )
