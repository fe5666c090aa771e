# ruff: noqa: E501, PERF401
"""Pipeline KPIs row by row, written from the catalogue."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

from kpid.model import Period
from tests.kpis import days
from tests.kpis.sales.deals import (
    NOW,
    STATES,
    Model,
    Row,
    Rows,
    alive,
    as_of,
    average,
    day,
    is_current,
    middle,
    money,
    moves,
    number,
    ratio,
    until,
    within,
)

DIMENSIONS = ("owner", "team", "segment", "product", "stage")
STAGE_DIMENSIONS = ("pipeline", "stage", "owner", "team", "lead_source")
WON_LAST = 10**6


# ---- deals as they were


def spans(rows: Rows, deal: Row, field: str | None) -> list[tuple[datetime, datetime | None, Any]]:
    """What a history knows of a field (None: of the stage): from, until, value; each until the next."""
    entity, name = ("deal_stage_history", "stage_id") if field is None else ("deal_field_history", "value")
    known: dict[datetime, Row] = {}
    for row in sorted(alive(rows, entity), key=lambda r: f"crm:{r['id']}", reverse=True):
        is_it = row["deal_id"] == deal["id"] and (field is None or row["field"] == field)
        if is_it and row["valid_from"] <= NOW:
            before = known.get(row["valid_from"])
            if field is None and before is not None and before["seq"] >= row["seq"]:
                continue
            known[row["valid_from"]] = row
    times = sorted(known)
    found = []
    for place, at in enumerate(times):
        ends = [end for end in (known[at]["valid_to"], *times[place + 1 : place + 2]) if end is not None]
        found.append((at, min(ends) if ends else None, known[at][name]))
    return found


_ABSENT = object()


def was(rows: Rows, deal: Row, field: str | None, instant: datetime) -> Any:
    """The value just before an instant; the first that is known stands in for what was before it."""
    for place, (start, end, value) in enumerate(spans(rows, deal, field)):
        if (start < instant or place == 0) and (end is None or end >= instant):
            return value
    return _ABSENT


def state_at(rows: Rows, deal: Row, instant: datetime) -> str | None:
    """The state just before an instant, as histories and the deal's own word have it; None: nothing is known."""
    events = [(at, state) for at, _, _, state in moves(rows, deal)]
    if events and deal["state"] in STATES and events[-1][1] != deal["state"]:
        since = (deal["opened_at"] or events[-1][0]) if deal["state"] == "open" else deal["closed_at"]
        if since is not None and since <= NOW:
            events.append((max(since, events[-1][0]), deal["state"]))
    before = [state for at, state in events if at < instant]
    return before[-1] if before else None


def day_from(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def open_deals(rows: Rows, period: Period) -> list[Row]:
    """Deals that are open at the end of a period, and known to have been there, as they were then."""
    end, found = until(period), []
    for deal in alive(rows, "deals"):
        start, closed = deal["created_at"], deal["closed_at"]
        if (start is None and not is_current(period)) or (start is not None and not start < end):
            continue
        state = state_at(rows, deal, end)
        is_open = state == "open" if state else closed >= end if closed is not None else deal["state"] == "open"
        if is_open:
            then = {name: was(rows, deal, name, end) for name in ("amount", "currency", "expected_close_date", "probability")}
            read = {"amount": number, "currency": lambda v: v or None, "expected_close_date": day_from, "probability": number}
            values = {name: read[name](value) for name, value in then.items() if value is not _ABSENT}
            stage = was(rows, deal, None, end)
            at = deal["stage_id"] if stage in (_ABSENT, None) else stage
            found.append({**deal, **values, "stage_id": at, "end": as_of(period), "until": end})
    return found


def worth(row: Row) -> tuple[Any, Any, list[Any]]:
    return row["amount"], row["currency"], [row["expected_close_date"], day(row["end"])]


def values(facts: list[Row], p: dict[str, str]) -> list[Fraction]:
    return money(facts, worth, excludes=p.get("missing_fx") == "exclude")


def open_facts(p: dict[str, str]):
    def facts(rows: Rows, period: Period) -> list[Row]:
        some, soon = open_deals(rows, period), int(p.get("close_within", "0"))
        if not soon:
            return some
        left = [(row, row["expected_close_date"]) for row in some]
        return [row for row, at in left if at is not None and 0 <= (at - day(row["end"])).days <= soon]

    return facts


def share(condition: Any, p: dict[str, str]):
    """Open deals that a condition holds for among those that it can be asked of (None: it cannot)."""

    def value(facts: list[Row], _: Period) -> Any:
        asked = [(row, condition(row)) for row in facts]
        every, some = [r for r, is_so in asked if is_so is not None], [r for r, is_so in asked if is_so]
        return ratio(len(some), len(every)) if p["weight"] == "count" else ratio(sum(values(some, p)), sum(values(every, p)))

    return value


def is_late(p: dict[str, str]):
    def late(row: Row) -> bool | None:
        due = row["expected_close_date"]
        return None if due is None else due + timedelta(days=int(p["closed_late_grace_days"])) < day(row["end"])

    return late


# ---- what became of it


def change_facts(rows: Rows, period: Period) -> list[Row]:
    """Every deal that was open when the period began or is when it ends, with both, and which part it is."""
    before = Period("span", period.start - timedelta(days=1), period.start, "")
    then, now = ({row["id"]: row for row in open_deals(rows, one)} for one in (before, period))
    found = []
    for key in {**then, **now}:
        old, new = then.get(key), now.get(key)
        if old and new:
            part = "changed"
        elif new:
            part = "added" if new["created_at"] is None or new["created_at"] >= period.start else "reopened"
        else:
            deal = next(deal for deal in alive(rows, "deals") if deal["id"] == key)
            state = state_at(rows, deal, until(period)) or deal["state"]
            part = state if state in ("won", "lost") else "gone"
        found.append({**(new or old), "part": part, "old": old, "new": new})
    return found


def change_value(p: dict[str, str]):
    def value(facts: list[Row], _: Period) -> Fraction:
        of_part = [fact for fact in facts if p["part"] in ("net", fact["part"])]
        old, new = ([fact[side] for fact in of_part if fact[side]] for side in ("old", "new"))
        return sum(values(new, p), Fraction(0)) - sum(values(old, p), Fraction(0))

    return value


# ---- weighted


def chance(value: Any) -> Fraction | None:
    if value is None or not 0 <= value <= 100:
        return None
    return Fraction(value) if value <= 1 else Fraction(value) / 100


def weighted_facts(p: dict[str, str]):
    def facts(rows: Rows, period: Period) -> list[Row]:
        stages = {stage["id"]: stage for stage in alive(rows, "stages")}
        deals = {deal["id"]: deal for deal in alive(rows, "deals")}
        been = {(h["stage_id"], h["deal_id"]) for h in alive(rows, "deal_stage_history") if h["valid_from"] <= NOW}
        found = []
        for row in open_deals(rows, period):
            others = [
                deals[of]["state"]
                for stage, of in been
                if stage == row["stage_id"] and of in deals and closed_by(deals[of], row["until"])
            ]
            past = Fraction(others.count("won"), len(others)) if others else None
            stage = stages.get(row["stage_id"], {})
            chain = [chance(row["probability"]), chance(stage.get("probability")), past][
                ("deal", "stage", "history").index(p["prob"]) :
            ]
            found.append({**row, "p": next((one for one in chain if one is not None), None)})
        return found

    return facts


def closed_by(deal: Row, instant: datetime) -> bool:
    return deal["state"] in ("won", "lost") and deal["closed_at"] is not None and deal["closed_at"] < instant


def weighted_value(p: dict[str, str]):
    return lambda facts, _: sum((v * row["p"] for row in facts if row["p"] is not None for v in values([row], p)), Fraction(0))


# ---- created


def created_facts(p: dict[str, str]):
    wanted = p["entry_stage"].lower()

    def facts(rows: Rows, period: Period) -> list[Row]:
        stages, found = {stage["id"]: stage for stage in alive(rows, "stages")}, []
        for deal in alive(rows, "deals"):
            entered = deal["created_at"]
            if wanted:
                reached = [
                    h["valid_from"]
                    for h in alive(rows, "deal_stage_history")
                    if h["deal_id"] == deal["id"] and h["stage_id"] in stages and h["valid_from"] <= NOW
                    and (stages[h["stage_id"]]["is_qualified"] if wanted == "qualified" else stages[h["stage_id"]]["name"].strip().lower() == wanted)
                ]  # fmt: skip
                entered = min(reached, default=None)
            if not within(entered, period):
                continue
            amount, currency = deal["amount"], deal["currency"]
            if p["amount_at"] == "creation":
                amount = number(known[0][2]) if (known := spans(rows, deal, "amount")) else amount
                currency = known[0][2] or None if (known := spans(rows, deal, "currency")) else currency
            elif p["amount_at"] == "period_end":
                amount = amount if (then := was(rows, deal, "amount", until(period))) is _ABSENT else number(then)
                currency = currency if (then := was(rows, deal, "currency", until(period))) is _ABSENT else then or None
            dates: list[Any] = []
            if deal["state"] in ("won", "lost"):
                dates = [day(deal["closed_at"]) if deal["closed_at"] else None]
            elif deal["state"] == "open":
                dates = [deal["expected_close_date"], day(as_of(period))]
            found.append({**deal, "worth": (amount, currency, dates)})
        return found

    return facts


def created_value(p: dict[str, str]):
    if p["as"] == "count":
        return lambda facts, _: len(facts)
    return lambda facts, _: sum(money(facts, lambda row: row["worth"], excludes=p["missing_fx"] == "exclude"))


# ---- stages


def entries(rows: Rows, period: Period) -> list[Row]:
    """Deals that entered an open stage for the first time in a period, and what became of them."""
    stages = {s["id"]: {**s, "order": s["sort_order"] + WON_LAST * (s["state"] == "won")} for s in alive(rows, "stages")}
    found = []
    for deal in alive(rows, "deals"):
        visits = [
            (h["valid_from"], stages[h["stage_id"]])
            for h in alive(rows, "deal_stage_history")
            if h["deal_id"] == deal["id"]
            and h["stage_id"] in stages
            and h["valid_from"] <= NOW
            and stages[h["stage_id"]]["state"] != "lost"
        ]
        for stage in {s["id"]: s for _, s in visits}.values():
            at = min(when for when, s in visits if s is stage)
            if stage["state"] != "open" or not within(at, period):
                continue
            ahead = [
                s["order"]
                for s in stages.values()
                if s["pipeline_id"] == stage["pipeline_id"] and s["state"] in ("open", "won") and s["order"] > stage["order"]
                and (s.get("active_from") is None or s["active_from"] <= at) and (s.get("active_to") is None or s["active_to"] > at)
            ]  # fmt: skip
            after = [
                (when, s)
                for when, s in visits
                if s["pipeline_id"] == stage["pipeline_id"] and s["order"] > stage["order"] and when >= at
            ]
            into_won = [when for when, s in after if s["state"] == "won"]
            is_past = deal["closed_at"] is None or deal["closed_at"] <= NOW
            later = min((when for when, _ in after), default=None)
            won = (
                (deal["closed_at"] or min(into_won, default=None) or later or at) if deal["state"] == "won" and is_past else None
            )
            lost = (deal["closed_at"] or at) if deal["state"] == "lost" and is_past else None
            onto = min((when for when, s in after if ahead and s["order"] == min(ahead)), default=None)
            if not ahead or min(ahead) >= WON_LAST:
                onto = min((one for one in (onto, won) if one is not None), default=None)
            later = min((one for one in (later, won) if one is not None), default=None)
            found.append(
                {
                    **deal,
                    "stage_id": stage["id"],
                    "pipeline_id": stage["pipeline_id"],
                    "at": at,
                    "later": later,
                    "onto": onto,
                    "won": won,
                    "lost": lost,
                }
            )
    return found


def in_time(row: Row, name: str, days: int) -> bool:
    return row[name] is not None and (not days or (row[name] - row["at"]).total_seconds() // 1 <= days * 86400)


def converted_value(p: dict[str, str]):
    days = int(p["horizon_days"])

    def value(facts: list[Row], _: Period) -> Any:
        if p["step"] == "won":
            return ratio(sum(in_time(row, "won", days) for row in facts), len(facts))
        if p["step"] == "any_later" or p["skip"] == "credit":
            return ratio(sum(in_time(row, "later", days) for row in facts), len(facts))
        direct = [row for row in facts if in_time(row, "onto", days) and row["onto"] == row["later"]]
        jumped = [row for row in facts if in_time(row, "later", days) and row["onto"] != row["later"]]
        return ratio(len(direct), len(facts) - (len(jumped) if p["skip"] == "exclude" else 0))

    return value


def lost_value(p: dict[str, str]):
    days = int(p["horizon_days"])
    return lambda facts, _: ratio(sum(in_time(r, "lost", days) and not in_time(r, "later", days) for r in facts), len(facts))


def dwell_facts(p: dict[str, str]):
    def facts(rows: Rows, period: Period) -> list[Row]:
        stages = {stage["id"]: stage for stage in alive(rows, "stages")}
        deals = {deal["id"]: deal for deal in alive(rows, "deals")}
        over: dict[tuple[str, str], list[Row]] = {}
        for h in alive(rows, "deal_stage_history"):
            is_over = h["valid_to"] is not None and h["valid_to"] <= NOW and h["valid_to"] >= h["valid_from"]
            if is_over and h["deal_id"] in deals and stages.get(h["stage_id"], {"state": "open"})["state"] == "open":
                over.setdefault((h["deal_id"], h["stage_id"]), []).append(h)
        found = []
        for (of, stage), visits in over.items():
            visits.sort(key=lambda h: (h["valid_to"], f"crm:{h['id']}"))
            lengths = [(h["valid_to"] - h["valid_from"]) // timedelta(seconds=1) for h in visits]
            ends = [(h["valid_to"], length) for h, length in zip(visits, lengths, strict=True)]
            if p["visit"] != "every":
                ends = [(ends[-1][0], sum(lengths) if p["visit"] == "cumulative" else lengths[-1])]
            known = {**deals[of], "stage_id": stage, "pipeline_id": stages.get(stage, {}).get("pipeline_id")}
            found += [{**known, "days": Fraction(length, 86400)} for end, length in ends if within(end, period)]
        return found

    return facts


# ---- stale


def stale_facts(p: dict[str, str]):
    def facts(rows: Rows, period: Period) -> list[Row]:
        done = {
            a["id"]: a
            for a in alive(rows, "activities")
            if a["status"] in (None, "completed") and not a["is_automated"] and a["occurred_at"] is not None
        }
        touched = [(a["deal_id"], a["occurred_at"]) for a in done.values()]
        for link in alive(rows, "activity_links"):
            if link["activity_id"] in done and link["object_type"] == "deals":
                touched.append((link["object_id"].removeprefix("crm:"), done[link["activity_id"]]["occurred_at"]))
        touched += [(h["deal_id"], h["valid_from"]) for h in alive(rows, "deal_stage_history")]
        kinds = ("amount", "currency", "expected_close_date")
        touched += [(h["deal_id"], h["valid_from"]) for h in alive(rows, "deal_field_history") if h["field"] in kinds]
        found = []
        for row in open_deals(rows, period):
            at = [when for of, when in touched if of == row["id"]] + [row["created_at"], row["last_activity_at"]]
            last = max((when for when in at if when is not None and when < row["until"]), default=None)
            is_stale = last is None or (row["end"] - last).total_seconds() >= int(p["days"]) * 86400
            found.append({**row, "stale": is_stale})
        return found

    return facts


# ---- put off


def push_facts(rows: Rows, period: Period) -> list[Row]:
    """Deals that were open in a period, and whether their date was moved to a later day in it."""
    found = []
    for deal in alive(rows, "deals"):
        created, closed = deal["created_at"], deal["closed_at"]
        if created is None:
            if not is_current(period):
                continue
        elif not created < until(period):
            continue
        is_there = (
            closed >= period.start or (created is not None and created >= period.start) if closed else deal["state"] == "open"
        )
        is_there = is_there or (created is not None and created >= period.start)
        is_pushed, before = False, None
        for at, _, value in spans(rows, deal, "expected_close_date"):
            new, old, before = day_from(value), day_from(before), value
            is_later = new is not None and old is not None and new > old
            was_open = closed >= at if closed is not None else deal["state"] == "open"
            is_known = created is not None and created <= at
            is_pushed = is_pushed or (is_later and was_open and is_known and period.start <= at < until(period))
        if is_there:
            found.append({**deal, "pushed": is_pushed})
        else:
            assert not is_pushed, deal
    return found


def _with(defaults: dict[str, str], **lists: list[str]):
    for chosen in product(*lists.values()):
        given = dict(zip(lists, chosen, strict=True))
        yield tuple(sorted(given.items())), defaults | given


FX = ["error", "exclude"]
OPEN = {"as": "amount", "close_within": "0", "missing_fx": "error"}
CREATED = {"as": "amount", "missing_fx": "error", "entry_stage": "", "amount_at": "current"}
CONVERSION = {"step": "next", "skip": "credit", "horizon_days": "0"}
STALE = {"days": "30", "weight": "count", "missing_fx": "error"}
OVERDUE = {"weight": "count", "missing_fx": "error", "closed_late_grace_days": "0"}
BALANCES: Model = {
    **{("pipeline_open_amount", k): (open_facts(p), lambda f, _, p=p: sum(values(f, p)), DIMENSIONS) for k, p in _with(OPEN, close_within=["0", "14"], missing_fx=FX)},
    **{("pipeline_open_amount", k): (open_facts(p), lambda f, _: len(f), DIMENSIONS) for k, p in _with(OPEN, **{"as": ["count"]}, close_within=["0", "14"])},
    **{("overdue_deal_share", k): (open_facts(p), share(is_late(p), p), DIMENSIONS) for k, p in _with(OVERDUE, weight=["count", "amount"], missing_fx=FX, closed_late_grace_days=["0", "9"])},
}  # fmt: skip
AVERAGES: Model = {
    (name, tuple(sorted((*params, ("snap", "avg"))))): (days.facts(of, NOW), days.of_facts(value), dimensions)
    for (name, params), (of, value, dimensions) in {
        **BALANCES,
        **{("pipeline_weighted_amount", k): (weighted_facts(p), weighted_value(p), DIMENSIONS) for k, p in _with({}, prob=["deal"], missing_fx=["exclude"])},
    }.items()
    if name != "overdue_deal_share" and dict(params).get("missing_fx") != "error"
}  # fmt: skip
MODEL: Model = {
    **BALANCES,
    **AVERAGES,
    **{
        ("pipeline_change", k): (change_facts, change_value(p), tuple(d for d in DIMENSIONS if d not in ("stage", "currency")))
        for k, p in _with({}, part=["net", "added", "reopened", "changed", "won", "lost", "gone"], missing_fx=FX)
    },
    ("close_date_push_rate", ()): (push_facts, lambda f, _: ratio(sum(row["pushed"] for row in f), len(f)), DIMENSIONS),
    **{
        ("pipeline_weighted_amount", k): (weighted_facts(p), weighted_value(p), DIMENSIONS)
        for k, p in _with({}, prob=["deal", "stage", "history"], missing_fx=FX)
    },
    **{
        ("pipeline_created", k): (created_facts(p), created_value(p), DIMENSIONS)
        for k, p in _with(CREATED, entry_stage=["", "qualified", "offer"], amount_at=["current", "creation", "period_end"])
    },
    **{
        ("pipeline_created", k): (created_facts(p), created_value(p), DIMENSIONS)
        for k, p in _with(CREATED, **{"as": ["count", "amount"]}, entry_stage=["", "Talks"], missing_fx=["exclude"])
    },
    **{
        ("stage_conversion_rate", k): (entries, converted_value(p), STAGE_DIMENSIONS)
        for k, p in _with(
            CONVERSION, step=["next", "any_later", "won"], skip=["credit", "strict", "exclude"], horizon_days=["0", "9"]
        )
    },
    **{("stage_loss_rate", k): (entries, lost_value(p), STAGE_DIMENSIONS) for k, p in _with({}, horizon_days=["0", "9"])},
    **{
        ("stage_dwell_days", k): (
            dwell_facts(p),
            lambda f, _, p=p: (middle if p["stat"] == "median" else average)([row["days"] for row in f]),
            ("stage", "pipeline", "owner", "team"),
        )
        for k, p in _with({}, visit=["latest", "cumulative", "every"], stat=["median", "mean"])
    },
    **{
        ("stale_deal_share", k): (stale_facts(p), share(lambda row: row["stale"], p), DIMENSIONS)
        for k, p in _with(STALE, days=["30", "9"], weight=["count", "amount"], missing_fx=["exclude"])
    },
}
__all__ = ["BALANCES", "MODEL", "Decimal"]
