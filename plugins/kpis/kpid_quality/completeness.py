"""Records that lack what others build on. The state now: it was not kept how it was."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, Subquery, Text, and_, case, cast, func, literal, or_, select, union_all

from kpid.plugin import GONE, NOW, Definition, Kpi, KpidError, Measure, Now, Param, count, entities, living

deals = entities.deals
OPEN_RECORDS = ("deals", "leads", "tickets")
_FIELDS = {"owner": "owner_id", "account": "account_id", "contact": "primary_contact_id", "stage": "stage_id"}
_REQUIRED = "amount,expected_close_date,owner,lead_source,account"


def _open_records() -> Subquery:
    """Open deals, leads and tickets: ``entity, source_id, owner_id, lacks_owner``."""
    deal, lead, ticket = (living(getattr(entities, name), f"open_{name}") for name in OPEN_RECORDS)
    rows: list[Select[tuple[object, ...]]] = []
    for name, table, is_open in (
        ("deals", deal, deal.c.state == "open"),
        ("leads", lead, and_(lead.c.converted_at.is_(None), lead.c.disqualified_at.is_(None))),
        ("tickets", ticket, func.coalesce(ticket.c.status, "open").not_in(["solved", "closed"])),
    ):
        region = table.c.region if "region" in table.c else cast(literal(None), Text)
        columns = (literal(name).label("entity"), table.c.source_id, table.c.owner_id, region.label("region"))
        rows.append(select(*columns).where(is_open))
    record, user = union_all(*rows).subquery("records"), entities.users.alias("record_owner")
    u = user.c
    has_left = or_(u.is_active.is_(False), u.active_to <= NOW, u.deleted_at <= GONE)
    lacks = case((record.c.owner_id.is_(None), 1), (has_left, 1), else_=0)
    return (
        select(record, lacks.label("lacks_owner")).select_from(record.outerjoin(user, u.id == record.c.owner_id)).subquery("held")
    )


RECORDS = _open_records()

MISSING_OWNER_SHARE = Kpi(
    id="missing_owner_share",
    name="Records without an owner",
    category="ops",
    unit="ratio",
    better="down",
    define=Definition(
        {
            "lacking": Measure(RECORDS, Now(), count(RECORDS.c.lacks_owner == 1), label="records without an owner"),
            "records": Measure(RECORDS, Now(), count(), label="open records"),
        },
        lambda m: m.lacking / m.records,
        sample="records",
        optional=(*OPEN_RECORDS, "users"),
    ),
    period="day",
    dimensions=("entity", "owner", "team", "region", "source"),
    formula_text="open deals, leads and tickets whose owner is nobody or has left / open deals, leads and tickets",
    why="What belongs to nobody is worked on by nobody.",
    misleads="An owner that the source does not deliver as a user is taken for present.",
    source="own",
    additivity="S",
    number=61,
)


def _is_filled(name: str) -> ColumnElement[bool]:
    column = deals.c.get(_FIELDS.get(name, name))
    if column is None:
        raise KpidError(
            f"deals have no field {name!r}", hint="Name columns of deals, divided by commas: amount, owner, lead_source"
        )
    return and_(column.is_not(None), func.trim(column) != "") if isinstance(column.type, Text) else column.is_not(None)


def _completeness(params: Mapping[str, str]) -> Definition:
    required = [name.strip() for name in params["required"].split(",") if name.strip()]
    if not required:
        raise KpidError("no field is required", hint=f"Name some in required: {_REQUIRED}")
    is_open = deals.c.state == "open"
    measures = {
        "complete": Measure(deals, Now(), count(and_(is_open, *map(_is_filled, required))), label="complete deals"),
        "open": Measure(deals, Now(), count(is_open), label="open deals"),
    }
    return Definition(measures, lambda m: m.complete / m["open"], sample="open")


FIELD_COMPLETENESS = Kpi(
    id="field_completeness",
    name="Complete deals",
    category="ops",
    unit="ratio",
    better="up",
    define=_completeness,
    period="week",
    dimensions=("owner", "team", "region", "pipeline", "stage", "product", "lead_source", "segment", "currency", "source"),
    params={"required": Param.text(_REQUIRED, "Fields of deals that have to be filled, divided by commas.")},
    formula_text="open deals that have all required fields / open deals",
    why="Forecasts and coverage are made of these fields.",
    misleads="A field that is filled is not yet right; an amount of 0 counts as filled.",
    source="own",
    additivity="S",
    number=62,
)

KPIS = (MISSING_OWNER_SHARE, FIELD_COMPLETENESS)
