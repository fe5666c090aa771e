"""The canonical CRM model: what a deal, a call or a ticket is to kpid, whatever CRM it came from.

Connectors fill these tables, KPIs measure them. Conventions (all tables):

* ``id`` is ``<source>:<native id>``: two CRMs never collide. Columns that point to another table hold such an id too; a connector
  yields native ids and the ingest step adds the source (columns marked ``ref``).
* instants are UTC ``timestamptz``; dates are local calendar dates, never shifted by a zone; a date-only source value of an
  instant column stands for local midnight in the organisation's zone;
* money is ``numeric(20, 6)`` beside an ISO ``currency``;
* rows are never removed: ``deleted_at`` and ``merged_into_id`` mark the ones that KPIs leave out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, MetaData, Numeric, Table, Text

metadata = MetaData()


def _instant(name: str, doc: str = "") -> Column[Any]:
    return Column(name, DateTime(timezone=True), doc=doc)


def _money(name: str, doc: str = "") -> Column[Any]:
    return Column(name, Numeric(20, 6), doc=doc)


def _text(name: str, doc: str = "") -> Column[Any]:
    return Column(name, Text, doc=doc)


def _ref(name: str, table: str, doc: str = "") -> Column[Any]:
    return Column(name, Text, doc=doc, info={"ref": table})


def _flag(name: str, doc: str = "") -> Column[Any]:
    return Column(name, Boolean, doc=doc)


def _number(name: str, doc: str = "") -> Column[Any]:
    return Column(name, Integer, doc=doc)


def _entity(name: str, doc: str, *columns: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Text, nullable=False, doc="<source>:<native id>"),
        Column("source_id", Text, nullable=False, doc="name of the configured source"),
        Column("native_id", Text, nullable=False, doc="id in the CRM"),
        _instant("created_at", "when the record came to be, by the CRM"),
        _instant("updated_at", "when the record last changed, by the CRM"),
        *columns,
        Column("synced_at", DateTime(timezone=True), nullable=False, doc="when kpid stored this version"),
        _instant("deleted_at", "tombstone: KPIs leave the row out"),
        _text("deleted_reason", "deleted, merged, archived, vanished"),
        _ref("merged_into_id", name, "the record that this one was merged into"),
        Column("is_test", Boolean, nullable=False, default=False, doc="a test record: KPIs leave it out"),
        Column("extra", JSON, doc="custom fields, as the CRM has them"),
        comment=doc,
    )


users = _entity(
    "users",
    "People who work with the CRM.",
    _text("name"),
    _text("email"),
    _text("role", "seller, manager, agent, marketer, service"),
    _text("team"),
    _text("region"),
    _ref("manager_id", "users"),
    _flag("is_active"),
    _instant("active_from"),
    _instant("active_to"),
    _text("timezone"),
    _text("calendar_id"),
)

accounts = _entity(
    "accounts",
    "Companies: prospects and customers.",
    _text("name"),
    _ref("parent_id", "accounts"),
    _ref("owner_id", "users"),
    _text("domain"),
    _text("industry"),
    _text("segment"),
    _text("size_band"),
    _text("country"),
    _text("region"),
    _text("lifecycle", "prospect, customer, former, partner, competitor, internal"),
    _instant("became_customer_at"),
    _text("lead_source"),
)

contacts = _entity(
    "contacts",
    "People at accounts.",
    _text("name"),
    _text("email"),
    _ref("account_id", "accounts"),
    _ref("owner_id", "users"),
    _text("lifecycle"),
    _flag("email_opt_in"),
    _instant("opt_out_at"),
    _text("lead_source"),
)

leads = _entity(
    "leads",
    "Enquiries that are not yet deals.",
    _text("name"),
    _text("email"),
    _text("company"),
    _text("status"),
    _ref("owner_id", "users"),
    _text("lead_source"),
    _text("source_detail"),
    _text("campaign"),
    _text("campaign_id"),
    _text("region"),
    _instant("first_response_at", "first outbound touch by a person"),
    _instant("qualified_at"),
    _instant("disqualified_at"),
    _instant("converted_at"),
    _ref("converted_account_id", "accounts"),
    _ref("converted_contact_id", "contacts"),
    _ref("converted_deal_id", "deals"),
)

pipelines = _entity("pipelines", "Sales and support pipelines.", _text("name"), _number("sort_order"))

stages = _entity(
    "stages",
    "Stages of pipelines.",
    _text("name"),
    _ref("pipeline_id", "pipelines"),
    _number("sort_order"),
    _money("probability", "0 to 1"),
    _text("state", "open, won, lost"),
    _flag("is_qualified"),
    _instant("active_from"),
    _instant("active_to"),
)

deals = _entity(
    "deals",
    "Sales opportunities.",
    _text("name"),
    _ref("account_id", "accounts"),
    _ref("primary_contact_id", "contacts"),
    _ref("lead_id", "leads"),
    _ref("owner_id", "users"),
    _ref("pipeline_id", "pipelines"),
    _ref("stage_id", "stages"),
    _text("state", "open, won, lost"),
    _money("amount"),
    _text("currency", "ISO 4217"),
    _money("recurring_amount"),
    _text("recurring_interval", "month, quarter, year"),
    _money("probability", "0 to 1"),
    _text("forecast_category", "omitted, pipeline, best_case, commit, closed"),
    _text("deal_type", "new, expansion, renewal"),
    _text("product", "main product"),
    _text("region"),
    _text("lead_source"),
    _text("campaign"),
    _text("campaign_id"),
    Column("expected_close_date", Date),
    Column("crm_close_date", Date),
    _instant("opened_at", "last change into open, if it was ever closed"),
    _instant("closed_at", "last change into won or lost; null while open"),
    _number("close_count", "how often it was closed"),
    _text("loss_reason"),
    _text("loss_competitor"),
    _text("next_step"),
    _instant("last_activity_at"),
)

deal_stage_history = _entity(
    "deal_stage_history",
    "Half-open intervals that a deal spent in a stage; valid_to null = there now.",
    _ref("deal_id", "deals"),
    _ref("stage_id", "stages"),
    _ref("pipeline_id", "pipelines"),
    _instant("valid_from"),
    _instant("valid_to"),
    _ref("entered_by", "users"),
    _number("seq", "position in the deal's history"),
    _text("origin", "crm: from the CRM's history; observed: seen by differing syncs"),
)

activities = _entity(
    "activities",
    "Calls, meetings, e-mails, tasks, notes, messages.",
    _text("type", "call, meeting, email, task, note, message"),
    _text("direction", "inbound, outbound, internal, unknown"),
    _text("subject"),
    _ref("owner_id", "users", "who did it"),
    _ref("account_id", "accounts"),
    _ref("contact_id", "contacts"),
    _ref("deal_id", "deals"),
    _ref("lead_id", "leads"),
    _instant("scheduled_start"),
    _instant("scheduled_end"),
    _instant("occurred_at"),
    _instant("ended_at"),
    _text("status", "planned, completed, cancelled, no_show"),
    _text("outcome"),
    _number("duration_s", "seconds"),
    _flag("is_automated"),
)

orders = _entity(
    "orders",
    "Orders or invoices.",
    _ref("account_id", "accounts"),
    _ref("deal_id", "deals"),
    _ref("owner_id", "users"),
    _instant("ordered_at"),
    _text("status", "placed, paid, cancelled"),
    _money("net_amount"),
    _money("tax"),
    _text("currency"),
)

tickets = _entity(
    "tickets",
    "Support requests.",
    _ref("account_id", "accounts"),
    _ref("requester_id", "contacts"),
    _ref("owner_id", "users"),
    _text("group_id"),
    _text("subject"),
    _text("channel"),
    _text("priority"),
    _text("category"),
    _text("status", "new, open, pending, on_hold, solved, closed"),
    _flag("created_by_agent"),
    _text("schedule_id", "opening hours that count"),
    _instant("first_reply_at"),
    _instant("first_solved_at"),
    _instant("last_solved_at"),
    _instant("closed_at", "null while not solved and not closed"),
    _number("reopen_count"),
    _number("reply_count_public"),
)

survey_responses = _entity(
    "survey_responses",
    "Answers to NPS, CSAT and CES surveys.",
    _text("kind", "nps, csat, ces"),
    _money("score"),
    _money("scale_min"),
    _money("scale_max"),
    _text("respondent_id"),
    _ref("account_id", "accounts"),
    _ref("ticket_id", "tickets"),
    _ref("owner_id", "users", "the agent at the time of the answer"),
    _text("wave_id"),
    _instant("submitted_at"),
    _text("comment"),
)

targets = _entity(
    "targets",
    "Targets for KPIs, versioned by valid_from: a new target never rewrites old attainments.",
    _text("kpi"),
    Column("dims", JSON, doc="{dimension: id}"),
    _text("period_kind"),
    Column("period_start", Date),
    Column("period_end", Date, doc="exclusive"),
    _money("value"),
    _text("currency"),
    _text("direction", "up, down"),
    _text("origin", "who set it"),
    _instant("valid_from"),
)

fx_rates = _entity(
    "fx_rates",
    "Exchange rates: 1 from_currency = rate to_currency in [valid_from, valid_to).",
    _text("from_currency"),
    _text("to_currency"),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("rate", Numeric(20, 10)),
    _text("origin", "who published it"),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("source_id", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("cursor", JSON, doc="where the next read begins; the connector's own shape"),
    Column("through", DateTime(timezone=True), doc="everything that changed up to here has been stored"),
    Column("finished_at", DateTime(timezone=True), doc="end of the last complete read, our clock"),
    comment="One row per source and entity: how far its sync has come. Written in the transaction of the page it belongs to.",
)

ENTITIES: dict[str, Table] = {
    table.name: table
    for table in (
        users, accounts, contacts, leads, pipelines, stages, deals, deal_stage_history, activities, orders, tickets,
        survey_responses, targets, fx_rates,
    )
}  # fmt: skip
"""The entities that a connector may fill, by name."""
