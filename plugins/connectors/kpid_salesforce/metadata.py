"""What is read as a whole each time: users and queues, roles, pipelines with their stages, exchange rates, quotas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kpid.plugin import HttpFailure, Page, SchemaError
from kpid_salesforce.commerce_rows import rate_row
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.metadata_rows import pipeline_row, queue_row, quota_row, stage_row, team_row, user_row
from kpid_salesforce.objects import CURRENCIES, PERIODS, QUEUES, QUOTAS, RATES, RECORD_TYPES, ROLES, STAGES, USERS, Kind
from kpid_salesforce.reading import Reading
from kpid_salesforce.soql import soql
from kpid_salesforce.values import PIPELINE, Place, Record

UNTOLD = "Salesforce does not say which stages some record types of deals offer: all are taken for theirs"


class Metadata:
    """Reads it.

    Args:
        api: the organisation.
        reading: its objects.
    """

    def __init__(self, api: Endpoints, reading: Reading) -> None:
        self._api = api
        self._reading = reading

    def users(self, until: datetime) -> Page:
        """People, queues, and roles as teams, if we may see these."""
        people = self._all(USERS, ["UserType = 'Standard'"])
        queues = self._all(QUEUES, ["Type = 'Queue'"])
        rows = [*(user_row(record) for record in people), *(queue_row(record) for record in queues)]
        try:
            roles = self._all(ROLES)
        except SchemaError:
            roles = []
        return Page({"users": rows, "teams": [team_row(role) for role in roles]}, through=until)

    def stages(self, until: datetime, place: Place) -> Page:
        """One pipeline with all stages, and with ``by_record_type`` one for each record type of deals besides."""
        stages = self._all(STAGES)
        pipelines = [{"native_id": PIPELINE, "name": "Sales", "sort_order": 0}]
        rows = [stage_row(record, place) for record in stages]
        warnings: list[str] = []
        for number, kind in enumerate(self._record_types() if place.by_record_type else (), 1):
            offered = self._offered(str(kind["Id"]))
            pipelines.append(pipeline_row(kind, number))
            rows += [stage_row(record, place, str(kind["Id"]), offered) for record in stages]
            warnings += [] if offered else [UNTOLD]
        return Page({"pipelines": pipelines, "stages": rows}, through=until, warnings=tuple(dict.fromkeys(warnings)))

    def _record_types(self) -> list[Record]:
        try:
            return self._all(RECORD_TYPES, ["SobjectType = 'Opportunity'"])
        except SchemaError:
            return []

    def _offered(self, record_type: str) -> frozenset[str] | None:
        """The stages of a record type's sales process; None if nobody tells."""
        try:
            return self._api.picklist("Opportunity", "StageName", record_type) or None
        except (HttpFailure, SchemaError) as failure:
            if isinstance(failure, HttpFailure) and failure.transient:
                raise
            return None

    def rates(self, until: datetime) -> Page:
        """Rates with their dates, if the organisation keeps such."""
        currencies = self._all(CURRENCIES)
        corporate = next((str(record["IsoCode"]) for record in currencies if record.get("IsCorporate")), "")
        try:
            rates = self._all(RATES)
        except SchemaError:
            rates = []
        rows = [row for record in rates or currencies if (row := rate_row(record, corporate))]
        return Page({"fx_rates": rows}, through=until)

    def quotas(self, until: datetime, place: Place, kpi: str, forecast: str | None, source: str) -> Page:
        """Quotas of people as targets: of one type of forecast.

        Raises:
            SchemaError: there are several types, and nobody says which.
        """
        quotas = self._all(QUOTAS)
        types = sorted({str(quota.get("ForecastingTypeId")) for quota in quotas})
        if forecast is None and len(types) > 1:
            text = f"there are quotas of {len(types)} types of forecasts"
            raise SchemaError(text, where=source, hint=f"Set `forecast` to the id of the one that counts: {', '.join(types)}")
        periods = {str(period["Id"]): period for period in self._all(PERIODS)} if quotas else {}
        wanted = [quota for quota in quotas if forecast in {None, str(quota.get("ForecastingTypeId"))}]
        told = (quota_row(one, periods.get(str(one.get("PeriodId")), {}), place, kpi, source) for one in wanted)
        return Page({"targets": [row for row in told if row is not None]}, through=until)

    def _all(self, kind: Kind, conditions: Sequence[str] = ()) -> list[Record]:
        return self._reading.all(soql(self._reading.known(kind), kind.name, conditions, ("Id",)))
