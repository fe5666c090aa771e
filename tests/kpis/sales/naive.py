"""Sales KPIs row by row, written from the catalogue."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from itertools import product
from typing import Any

from kpid.model import Period
from tests.kpis.sales.deals import (
    NOW,
    WORK,
    Model,
    Row,
    Rows,
    alive,
    as_of,
    average,
    day,
    euro,
    is_current,
    middle,
    money,
    moves,
    ratio,
    until,
    within,
)

DIMENSIONS = ("owner", "team", "segment", "product", "lead_source")
PLAIN = {"close_basis": "crm_date", "reopen": "latest"}


def closings(rows: Rows, basis: str, reopen: str) -> list[Row]:
    """Closed deals: each with the outcome and the date that count."""
    found: list[Row] = []
    for deal in alive(rows, "deals"):
        if (basis, reopen) == ("crm_date", "latest"):
            if deal["state"] in ("won", "lost") and deal["closed_at"] is not None:
                found.append({**deal, "when": deal["closed_at"]})
            continue
        events = turns(rows, deal)
        closed = [(place, state, at) for place, (state, at) in enumerate(events) if state != "open"]
        if reopen == "latest":
            closed = [one for one in closed if one[0] == len(events) - 1]
        elif reopen == "first":
            closed = closed[:1]
        for place, state, at in closed:
            is_latest = place == len(events) - 1 and state == deal["state"] and deal["closed_at"] is not None
            when = deal["closed_at"] if basis == "crm_date" and is_latest else at
            found.append({**deal, "state": state, "when": when})
    return found


def is_lost(row: Row, excludes: tuple[str, ...] = ()) -> bool:
    return row["state"] == "lost" and (row["loss_reason"] or "").strip().lower() not in excludes


def closed(p: dict[str, str], *states: str):
    """Deals closed in a period with one of the outcomes."""
    excludes = tuple(filter(None, p.get("lost_excludes", "").split(",")))

    def facts(rows: Rows, period: Period) -> list[Row]:
        some = [row for row in closings(rows, p["close_basis"], p["reopen"]) if within(row["when"], period)]
        return [row for row in some if row["state"] in states and (row["state"] == "won" or is_lost(row, excludes))]

    return facts


def by_closing(row: Row) -> tuple[Any, Any, list[Any]]:
    return row["amount"], row["currency"], [day(row["when"])]


def today(row: Row, period: Period) -> tuple[Any, Any, list[Any]]:
    """Converted by closing, or, while a deal is open, by its expected closing, else by today."""
    dates: list[Any] = []
    if row["state"] in ("won", "lost"):
        dates = [day(row["closed_at"]) if row["closed_at"] else None]
    elif row["state"] == "open":
        dates = [row["expected_close_date"], day(as_of(period))]
    return row["amount"], row["currency"], dates


def amounts(facts: list[Row], p: dict[str, str]) -> list[Fraction]:
    return money(facts, by_closing, excludes=p["missing_fx"] == "exclude")


# ---- win rate


def is_overdue(row: Row, grace: int) -> bool:
    is_open = row["closed_at"] > NOW if row["closed_at"] else row["state"] == "open"
    has_begun, due = row["created_at"] is None or row["created_at"] <= NOW, row["expected_close_date"]
    return is_open and has_begun and due is not None and due + timedelta(days=grace) < day(NOW)


def win_facts(p: dict[str, str]):
    decided = closed(p, "won", "lost")

    def facts(rows: Rows, period: Period) -> list[Row]:
        found = decided(rows, period)
        if p["overdue_as_lost"] == "true":
            first, last = day(period.start), day(period.end - timedelta(microseconds=1))
            for row in alive(rows, "deals"):
                if is_overdue(row, int(p["closed_late_grace_days"])) and first <= row["expected_close_date"] <= last:
                    found.append({**row, "state": "overdue", "when": None})
        return found

    return facts


def win_value(p: dict[str, str]):
    def value(facts: list[Row], period: Period) -> Any:
        won = [row for row in facts if row["state"] == "won"]
        if p["weight"] == "count":
            return ratio(len(won), len(facts))
        late = [row for row in facts if row["state"] == "overdue"]
        overdue = money(
            late, lambda r: (r["amount"], r["currency"], [r["expected_close_date"]]), excludes=p["missing_fx"] == "exclude"
        )
        return ratio(sum(amounts(won, p)), sum(amounts([r for r in facts if r not in late], p)) + sum(overdue))

    return value


def cohort_facts(p: dict[str, str]):
    excludes = tuple(filter(None, p["lost_excludes"].split(",")))
    days = int(p["horizon_days"])

    def facts(rows: Rows, period: Period) -> list[Row]:
        found = []
        seen = closings(rows, p["close_basis"], p["reopen"])
        for row in alive(rows, "deals"):
            if not within(row["created_at"], period):
                continue
            kept = row["state"] != "lost" or is_lost(row, excludes)
            wins = [one for one in seen if one["id"] == row["id"] and one["state"] == "won"][:1]
            won = [
                one
                for one in wins
                if one["when"] <= NOW and (not days or (one["when"] - row["created_at"]).total_seconds() // 1 <= days * 86400)
            ]
            if kept or won:
                found.append({**row, "kept": kept, "won": won[0] if won else None})
        return found

    return facts


def cohort_value(p: dict[str, str]):
    def value(facts: list[Row], period: Period) -> Any:
        kept, won = [row for row in facts if row["kept"]], [row["won"] for row in facts if row["won"]]
        if p["weight"] == "count":
            return ratio(len(won), len(kept))
        excludes = p["missing_fx"] == "exclude"
        return ratio(
            sum(money(won, by_closing, excludes=excludes)), sum(money(kept, lambda r: today(r, period), excludes=excludes))
        )

    return value


# ---- close rate


def turns(rows: Rows, deal: Row) -> list[tuple[str, datetime]]:
    """Changes of a deal's state, its own row's last."""
    events: list[tuple[str, datetime]] = []
    for at, _, _, state in moves(rows, deal):
        if not events or events[-1][0] != state:
            events.append((state, at))
    is_dated = deal["state"] in ("won", "lost") and deal["closed_at"] is not None and deal["closed_at"] <= NOW
    if is_dated and (not events or events[-1][0] != deal["state"]):
        events.append((deal["state"], deal["closed_at"]))
    return events


def spells(rows: Rows, deal: Row, basis: str, reopen: str) -> list[tuple[datetime | None, datetime | None]]:
    """From when to when a deal was in the pipeline."""
    events, begun, found = turns(rows, deal), deal["created_at"], []
    for place, (state, at) in enumerate(events):
        if state == "open":
            begun = begun if place == 0 else at
            continue
        is_latest = place == len(events) - 1 and state == deal["state"] and deal["closed_at"] is not None
        is_again = place > 0 and events[place - 1][0] != "open"
        found.append((at if is_again else begun, deal["closed_at"] if basis == "crm_date" and is_latest else at))
    if not events or events[-1][0] == "open":
        found.append((begun, deal["closed_at"] if not events or deal["state"] in ("won", "lost") else None))
    if reopen == "every":
        return found
    return [(deal["created_at"], found[0 if reopen == "first" else -1][1])]


def history_facts(p: dict[str, str]):
    """As `pipeline_facts`, by what the histories know."""

    def facts(rows: Rows, period: Period) -> list[Row]:
        found = []
        closed_then = [row for row in closings(rows, p["close_basis"], p["reopen"]) if within(row["when"], period)]
        for row in alive(rows, "deals"):
            own = spells(rows, row, p["close_basis"], p["reopen"])
            inside = any(overlaps(begun, end, period, is_open=row["state"] == "open") for begun, end in own)
            mine = [one for one in closed_then if one["id"] == row["id"] and row["created_at"] is not None]
            excludes = tuple(filter(None, p["lost_excludes"].split(",")))
            decided = [one["state"] for one in mine if one["state"] == "won" or is_lost(one, excludes)]
            found += [{**row, "inside": inside, "decided": decided[0] if decided else None}]
            found += [{**row, "inside": False, "decided": state} for state in decided[1:]]
        return [row for row in found if row["inside"] or row["decided"]]

    return facts


def overlaps(start: datetime | None, end: datetime | None, period: Period, *, is_open: bool) -> bool:
    is_there = end >= period.start if end is not None else is_open
    if start is None:
        return is_current(period) and is_there
    return start < until(period) and (start >= period.start or is_there)


def pipeline_facts(rows: Rows, period: Period) -> list[Row]:
    """Deals of the pipeline set, and those closed in the period."""
    found = []
    for row in alive(rows, "deals"):
        start, end, is_open = row["created_at"], row["closed_at"], row["state"] == "open"
        if start is None:
            inside = is_current(period) and (end >= period.start if end is not None else is_open)
        else:
            inside = start < until(period) and (start >= period.start or (end >= period.start if end is not None else is_open))
        decided = row["state"] if start is not None and row["state"] in ("won", "lost") and within(end, period) else None
        found.append({**row, "inside": inside, "decided": decided})
    return [row for row in found if row["inside"] or row["decided"]]


# ---- sales cycle


def touches(rows: Rows) -> dict[tuple[str, str], datetime]:
    """First contacts by kind and object."""
    first: dict[tuple[str, str], datetime] = {}
    done = {
        a["id"]: a
        for a in alive(rows, "activities")
        if a["type"] in ("call", "meeting", "email", "message") and a["status"] in (None, "completed") and not a["is_automated"]
        and a["direction"] != "internal" and a["occurred_at"] is not None and a["occurred_at"] <= NOW
    }  # fmt: skip
    about = [(a["occurred_at"], "deals", a["deal_id"]) for a in done.values()] + [
        (a["occurred_at"], "leads", a["lead_id"]) for a in done.values()
    ]
    for link in alive(rows, "activity_links"):
        if link["activity_id"] in done:
            at = done[link["activity_id"]]["occurred_at"]
            about.append((at, link["object_type"], link["object_id"].removeprefix("crm:")))
    for at, kind, of in about:
        if of is not None:
            first[kind, of] = min(at, first.get((kind, of), at))
    return first


def start_of(rows: Rows, deal: Row, start: str, contacts: dict[tuple[str, str], datetime]) -> datetime | None:
    if start == "deal_created":
        return deal["created_at"]
    leads = {lead["id"]: lead for lead in alive(rows, "leads")}
    own = leads.get(deal["lead_id"])
    others = [lead for lead in leads.values() if lead["converted_deal_id"] == deal["id"]]
    others.sort(key=lambda lead: (lead["created_at"] is None, lead["created_at"] or NOW, lead["id"]))
    lead = own or (others[0] if others else None)
    lead_at = (own["created_at"] if own else None) or (others[0]["created_at"] if others else None)
    if start == "first_contact":
        known = [contacts.get(("deals", deal["id"])), contacts.get(("leads", lead["id"])) if lead else None]
        known = [at for at in known if at is not None]
        if known:
            return min(known)
    return lead_at or deal["created_at"]


def cycle_facts(p: dict[str, str]):
    states = {"won": ("won",), "lost": ("lost",), "all": ("won", "lost")}[p["outcome"]]
    excludes = tuple(filter(None, p["lost_excludes"].split(",")))

    def facts(rows: Rows, period: Period) -> list[Row]:
        found, contacts = [], touches(rows)
        for row in closings(rows, p["close_basis"], p["reopen"]):
            start = start_of(rows, row, p["start"], contacts)
            if row["state"] not in states or start is None or not (row["state"] == "won" or is_lost(row, excludes)):
                continue
            first, last = day(start), day(row["when"])
            is_there = within(start, period) and row["when"] <= NOW if p["mode"] == "cohort" else within(row["when"], period)
            if not is_there or last < first:
                continue
            after = timedelta(days=1)
            work = WORK.working_days(first + after, last + after) if last > first else 0
            found.append({**row, "days": work if p["unit"] == "business_days" else (last - first).days})
        return found

    return facts


def of_days(p: dict[str, str]):
    return lambda facts, _: (middle if p["stat"] == "median" else average)([row["days"] for row in facts])


# ---- velocity, loss reasons


def reasons(row: Row, multi: str) -> list[tuple[str, Fraction]]:
    """Reasons of a lost deal, each with its part of the deal."""
    parts = [part.strip() for part in (row["loss_reason"] or "").split(";")]
    if multi == "first":
        return [(parts[0] or "unknown", Fraction(1))]
    known = [part for part in parts[:5] if part]
    return [(part, Fraction(1, len(known))) for part in known] or [("unknown", Fraction(1))]


def loss_facts(p: dict[str, str]):
    names = tuple(filter(None, p["lost_excludes"].split(",")))

    def facts(rows: Rows, period: Period) -> list[Row]:
        return [
            {**row, "reason": reason, "part": part}
            for row in closings(rows, p["close_basis"], p["reopen"])
            if row["state"] == "lost" and within(row["when"], period)
            for reason, part in reasons(row, p["multi"])
            if reason.lower() not in names
        ]

    return facts


def loss_value(p: dict[str, str]):
    def value(facts: list[Row], _: Period) -> Any:
        def total(some: list[Row]) -> Fraction:
            if p["weight"] == "count":
                return sum((row["part"] for row in some), Fraction(0))
            parts = [(row, money([row], by_closing, excludes=p["missing_fx"] == "exclude")) for row in some]
            return sum((row["part"] * worth[0] for row, worth in parts if worth), Fraction(0))

        return ratio(total([row for row in facts if p["reason"] in ("", row["reason"].lower())]), total(facts))

    return value


def _with(defaults: dict[str, str], **lists: list[str]):
    for values in product(*lists.values()):
        given = dict(zip(lists, values, strict=True))
        yield tuple(sorted(given.items())), defaults | given


BASES = {"close_basis": ["crm_date", "transition"], "reopen": ["latest", "first", "every"]}
WIN = {
    "weight": "count",
    "missing_fx": "error",
    "mode": "period",
    "horizon_days": "0",
    "overdue_as_lost": "false",
    "closed_late_grace_days": "0",
    "lost_excludes": "",
} | PLAIN
CYCLE = {
    "stat": "median",
    "outcome": "won",
    "start": "deal_created",
    "unit": "days",
    "mode": "period",
    "lost_excludes": "",
} | PLAIN
LOSS = {"reason": "", "weight": "count", "multi": "first", "lost_excludes": "", "missing_fx": "error"} | PLAIN
MONEY = {"missing_fx": "error", "stat": "mean"} | PLAIN
MODEL: Model = {
    **{("won_deals", k): (closed(p, "won"), lambda f, _: len(f), DIMENSIONS) for k, p in _with(PLAIN, **BASES)},
    **{
        ("lost_deals", k): (closed(p, "lost"), lambda f, _: len(f), DIMENSIONS)
        for k, p in _with(PLAIN, **BASES, lost_excludes=["", "disqualified"])
    },
    **{
        ("won_amount", k): (closed(p, "won"), lambda f, _, p=p: sum(amounts(f, p)), DIMENSIONS)
        for k, p in _with(MONEY, **BASES, missing_fx=["error", "exclude"])
    },
    **{
        ("avg_deal_size", k): (
            closed(p, "won"),
            lambda f, _, p=p: (average if p["stat"] == "mean" else middle)(amounts(f, p)),
            DIMENSIONS,
        )
        for k, p in _with(MONEY, stat=["mean", "median"], reopen=["latest", "first"], missing_fx=["error", "exclude"])
    },
    **{
        ("win_rate", k): (win_facts(p), win_value(p), DIMENSIONS)
        for k, p in _with(WIN, weight=["count", "amount"], overdue_as_lost=["false", "true"], missing_fx=["error", "exclude"])
    },
    **{
        ("win_rate", k): (win_facts(p), win_value(p), DIMENSIONS)
        for k, p in _with(WIN, weight=["count", "amount"], overdue_as_lost=["true"], closed_late_grace_days=["9"])
    },
    **{("win_rate", k): (win_facts(p), win_value(p), DIMENSIONS) for k, p in _with(WIN, **BASES, lost_excludes=["disqualified"])},
    **{
        ("win_rate", k): (cohort_facts(p), cohort_value(p), DIMENSIONS)
        for k, p in _with(
            WIN, mode=["cohort"], horizon_days=["0", "20"], reopen=["latest", "every"], close_basis=["crm_date", "transition"]
        )
    },
    **{
        ("win_rate", k): (cohort_facts(p), cohort_value(p), DIMENSIONS)
        for k, p in _with(
            WIN, mode=["cohort"], weight=["amount"], missing_fx=["error", "exclude"], lost_excludes=["", "disqualified"]
        )
    },
    **{
        ("close_rate", (("closed", name),)): (
            pipeline_facts,
            lambda f, _, states=states: ratio(sum(r["decided"] in states for r in f), sum(r["inside"] for r in f)),
            DIMENSIONS,
        )
        for name, states in (("won", ("won",)), ("won_lost", ("won", "lost")))
    },
    **{
        ("close_rate", k): (
            history_facts(p),
            lambda f, _, p=p: ratio(sum(r["decided"] in p["closed"].split("_") for r in f), sum(r["inside"] for r in f)),
            DIMENSIONS,
        )
        for k, p in _with({}, closed=["won", "won_lost"], **BASES, lost_excludes=["", "disqualified"])
        if (p["close_basis"], p["reopen"]) != ("crm_date", "latest")
    },
    **{
        ("loss_reason_share", k): (loss_facts(p), loss_value(p), DIMENSIONS)
        for k, p in _with(LOSS, **BASES, reason=["price"], multi=["first", "split"])
    },
    **{
        ("sales_cycle_days", k): (cycle_facts(p), of_days(p), DIMENSIONS)
        for k, p in _with(
            CYCLE,
            start=["deal_created", "lead_created", "first_contact"],
            unit=["days", "business_days"],
            mode=["period", "cohort"],
        )
    },
    **{
        ("sales_cycle_days", k): (cycle_facts(p), of_days(p), DIMENSIONS)
        for k, p in _with(CYCLE, **BASES, start=["deal_created", "lead_created"])
    },
    **{
        ("sales_cycle_days", k): (cycle_facts(p), of_days(p), DIMENSIONS)
        for k, p in _with(CYCLE, stat=["mean"], outcome=["won", "lost", "all"], lost_excludes=["", "disqualified"])
    },
    **{
        ("loss_reason_share", k): (loss_facts(p), loss_value(p), DIMENSIONS)
        for k, p in _with(LOSS, reason=["", "price", "unknown"], multi=["first", "split"], weight=["count", "amount"])
    },
    **{
        ("loss_reason_share", k): (loss_facts(p), loss_value(p), DIMENSIONS)
        for k, p in _with(
            LOSS, reason=["timing"], multi=["split"], weight=["amount"], missing_fx=["exclude"], lost_excludes=["price"]
        )
    },
}
__all__ = ["MODEL", "euro"]
