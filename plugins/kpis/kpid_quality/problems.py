"""What is wrong with which record: one row per problem and record, counted by kind and listed by record. The state now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import ColumnElement, Select, Subquery, Table, Text, and_, case, cast, func, literal, not_, or_, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import NOW, Definition, Kpi, Measure, Now, converted, count, entities, living, local_date
from kpid_quality.duplicates import RECORDS

_CURRENCY_LENGTH = 3
_Found = Select[tuple[object, ...]]


def _found(problem: str, entity: str, rows: FromClause, where: ColumnElement[bool]) -> _Found:
    """The records of an entity that have a problem."""
    c = rows.c
    nobody = cast(literal(None), Text)
    owner, account = (c.get(name, nobody) for name in ("owner_id", "account_id"))
    columns = (literal(problem).label("problem"), literal(entity, Text).label("entity"), c.id.label("record"), c.source_id)
    return select(*columns, owner.label("owner_id"), account.label("account_id")).where(where)


def _is_blank(column: ColumnElement[object]) -> ColumnElement[bool]:
    return or_(column.is_(None), func.trim(column) == "")


def _is_odd_code(column: ColumnElement[object]) -> ColumnElement[bool]:
    """Whether a text is no currency code: three capital letters."""
    return and_(column.is_not(None), or_(func.length(column) != _CURRENCY_LENGTH, func.upper(column) != column))


def _of_dates() -> list[_Found]:
    """Impossible dates: an end before its beginning, or a past that is still to come."""
    found: list[_Found] = []
    for table, begins, ends, problem in (
        (entities.deals, "created_at", "closed_at", "closed_before_created"),
        (entities.leads, "created_at", "converted_at", "converted_before_created"),
        (entities.tickets, "created_at", "first_reply_at", "replied_before_created"),
        (entities.tickets, "created_at", "last_solved_at", "solved_before_created"),
        (entities.activities, "occurred_at", "ended_at", "ended_before_begun"),
        (entities.subscriptions, "started_at", "ended_at", "ended_before_begun"),
        (entities.deal_stage_history, "valid_from", "valid_to", "ended_before_begun"),
        (entities.account_status_history, "valid_from", "valid_to", "ended_before_begun"),
        (entities.ticket_status_history, "valid_from", "valid_to", "ended_before_begun"),
    ):
        rows = living(table, f"{table.name}_{ends}")
        found.append(_found(problem, table.name, rows, rows.c[ends] < rows.c[begins]))
    for table, instant in (
        (entities.deals, "closed_at"), (entities.deals, "created_at"), (entities.leads, "created_at"),
        (entities.leads, "converted_at"), (entities.tickets, "created_at"), (entities.tickets, "last_solved_at"),
        (entities.orders, "ordered_at"), (entities.survey_responses, "submitted_at"),
    ):  # fmt: skip
        rows = living(table, f"{table.name}_{instant}_to_come")
        name = "closed" if instant == "closed_at" else instant.removesuffix("_at")
        found.append(_found(f"{name}_in_the_future", table.name, rows, rows.c[instant] > NOW))
    activity = living(entities.activities, "activities_to_come")
    is_done = and_(activity.c.status == "completed", activity.c.occurred_at > NOW)
    found.append(_found("completed_in_the_future", "activities", activity, is_done))
    found.append(_found("negative_duration", "activities", activity, activity.c.duration_s < 0))
    return found


def _of_deals() -> list[_Found]:
    """What deals lack or cannot be."""
    rows = living(entities.deals, "deals_checked")
    d = rows.c
    is_closed = d.state.in_(["won", "lost"])
    is_real = func.coalesce(d.state, "") != "lost"
    checks = {
        "closed_without_date": and_(is_closed, d.closed_at.is_(None)),
        "closed_without_reason": and_(d.state == "lost", _is_blank(d.loss_reason)),
        "created_at_missing": d.created_at.is_(None),
        "state_unknown": or_(d.state.is_(None), d.state.not_in(["open", "won", "lost"])),
        "amount_missing": and_(is_real, d.amount.is_(None)),
        "amount_zero": and_(is_real, d.amount == 0),
        "amount_negative": d.amount < 0,
        "currency_unknown": _is_odd_code(d.currency),
        "probability_off_scale": not_(d.probability.between(0, 1)),
        "overdue": and_(d.state == "open", d.expected_close_date < local_date(NOW)),
    }
    return [_found(problem, "deals", rows, where) for problem, where in checks.items()]


def _of_all_deals() -> list[_Found]:
    """What shows only beside the other deals of a source: probabilities that are all 100 %, currencies that only some have."""
    rows = living(entities.deals, "deals_together")
    r = rows.c
    is_open = case((r.state == "open", 1), else_=0)
    known = and_(r.state == "open", r.probability.is_not(None))
    columns = (
        func.min(case((known, r.probability))).over(partition_by=r.source_id).label("least"),
        func.sum(case((known, 1), else_=0)).over(partition_by=r.source_id).label("weighed"),
        func.max(case((r.currency.is_not(None), 1), else_=0)).over(partition_by=r.source_id).label("has_currencies"),
        is_open.label("is_open"),
    )
    beside = select(rows, *columns).subquery("deals_beside")
    b = beside.c
    all_certain = and_(b.is_open == 1, b.weighed > 1, b.least == 1, b.probability.is_not(None))
    no_currency = and_(b.has_currencies == 1, b.amount.is_not(None), b.currency.is_(None))
    return [
        _found("probability_all_100_percent", "deals", beside, all_certain),
        _found("currency_missing", "deals", beside, no_currency),
    ]


def _of_money() -> list[_Found]:
    """Amounts without an exchange rate, and orders without an amount."""
    found: list[_Found] = []
    deal, order = living(entities.deals, "deals_with_money"), living(entities.orders, "orders_with_money")
    date = func.coalesce(deal.c.closed_at, NOW)
    in_money = converted(deal, "deals_converted", deal_value=(deal.c.amount, deal.c.currency, date, NOW))
    found.append(_found("exchange_rate_missing", "deals", in_money, in_money.c.deal_value_lacks))
    in_money = converted(order, "orders_converted", order_value=(order.c.net_amount, order.c.currency, order.c.ordered_at))
    found.append(_found("exchange_rate_missing", "orders", in_money, in_money.c.order_value_lacks))
    found.append(_found("amount_missing", "orders", order, order.c.net_amount.is_(None)))
    found.append(_found("currency_unknown", "orders", order, _is_odd_code(order.c.currency)))
    return found


def _of_answers() -> list[_Found]:
    """Scores that cannot be."""
    rows = living(entities.survey_responses, "responses_checked")
    r = rows.c
    ends = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
    low, high = (
        func.coalesce(column, case(*((r.kind == kind, both[end]) for kind, both in ends.items())))
        for end, column in enumerate((r.scale_min, r.scale_max))
    )
    is_off = or_(r.score < low, r.score > high, and_(r.kind == "nps", or_(r.score < 0, r.score > 10)))
    return [
        _found("score_off_scale", "survey_responses", rows, is_off),
        _found("score_not_whole", "survey_responses", rows, and_(r.kind == "nps", r.score != func.floor(r.score))),
    ]


@cache
def problems() -> Subquery:
    """All problems: ``problem, entity, record, source_id, owner_id, account_id``."""
    doubles = [_found("duplicate", "records", RECORDS, RECORDS.c.is_double == 1).with_only_columns(
        literal("duplicate").label("problem"), RECORDS.c.entity, RECORDS.c.id.label("record"), RECORDS.c.source_id,
        RECORDS.c.owner_id, cast(literal(None), Text).label("account_id"),
    )]  # fmt: skip
    found = [*_of_dates(), *_of_deals(), *_of_all_deals(), *_of_money(), *_of_answers(), *doubles]
    return union_all(*found).subquery("problems")


_TABLES: tuple[Table, ...] = (
    entities.deals, entities.leads, entities.tickets, entities.activities, entities.subscriptions, entities.deal_stage_history,
    entities.account_status_history, entities.ticket_status_history, entities.orders, entities.survey_responses,
    entities.accounts, entities.contacts,
)  # fmt: skip


def _define(_params: Mapping[str, str]) -> Definition:
    return Definition(
        {"problems": Measure(problems(), Now(), count(), label="problems")},
        lambda m: m.problems,
        optional=tuple(table.name for table in _TABLES),
    )


DATA_PROBLEMS = Kpi(
    id="data_problems",
    name="Problems in the data",
    category="ops",
    unit="count",
    better="down",
    define=_define,
    period="day",
    dimensions=("problem", "entity", "record", "owner", "team", "source"),
    formula_text="records with impossible dates, amounts, currencies, scores or probabilities, lacks, or doubles",
    why="What must be corrected, and by whom, before the other numbers can be believed.",
    misleads="A record counts once for each of its problems. Cut it by problem and record for the list.",
    source="own",
    additivity="S",
)

KPIS = (DATA_PROBLEMS,)
