# ruff: noqa: E501
"""The KPIs of the data itself once more, row by row in plain Python. They speak of now: ``period`` is not asked."""

from __future__ import annotations

from fractions import Fraction

from tests.kpis.company import NOW, alive, local_day

FIELDS = ("amount", "expected_close_date", "owner_id", "lead_source", "account_id")


def ratio(facts, above, below):
    tops, bottoms = (sum(fact.get(name, 0) for fact in facts) for name in (above, below))
    return Fraction(tops, bottoms) if bottoms else None


def held(rows, period):
    users = {user["id"]: user for user in rows["users"]}
    records = [("deals", row) for row in alive(rows, "deals") if row["state"] == "open"]
    records += [("leads", row) for row in alive(rows, "leads") if row["converted_at"] is None and row["disqualified_at"] is None]
    records += [("tickets", row) for row in alive(rows, "tickets") if row["status"] not in ("solved", "closed")]
    for entity, row in records:
        user = users.get(row["owner_id"], {})
        has_left = user.get("is_active") is False or (user.get("active_to") is not None and user["active_to"] <= NOW)
        yield {**row, "entity": entity, "lacking": int(row["owner_id"] is None or has_left), "records": 1}


def completed(rows, period, fields):
    for row in alive(rows, "deals"):
        if row["state"] == "open":
            is_filled = all(row[name] is not None and str(row[name]).strip() for name in fields)
            yield {**row, "complete": int(is_filled), "open": 1}


def compared(rows, period):
    for entity in ("accounts", "contacts", "leads"):
        seen = {}
        order = sorted(
            alive(rows, entity), key=lambda row: (row.get("created_at") is None, row.get("created_at"), f"crm:{row['id']}")
        )
        for row in order:
            key = ((row["domain"] or row["name"]) if entity == "accounts" else row["email"]) or ""
            key = key.strip().lower()
            yield {
                **row,
                "entity": entity,
                "doubles": int(bool(key) and key in seen),
                "records": 1,
                "owner_id": row.get("owner_id"),
            }
            seen[key] = row


def problems(rows, period):
    def of(entity, name, found):
        return [{**row, "entity": entity, "problem": name, "owner_id": row.get("owner_id")} for row in found]

    def before(row, end, start):
        return row[end] is not None and row[start] is not None and row[end] < row[start]

    def to_come(row, name):
        return row[name] is not None and row[name] > NOW

    deals, leads, tickets, done, answers = (
        alive(rows, name) for name in ("deals", "leads", "tickets", "activities", "survey_responses")
    )
    found = of("deals", "closed_before_created", [d for d in deals if before(d, "closed_at", "created_at")])
    found += of("leads", "converted_before_created", [d for d in leads if before(d, "converted_at", "created_at")])
    found += of("tickets", "replied_before_created", [d for d in tickets if before(d, "first_reply_at", "created_at")])
    found += of("tickets", "solved_before_created", [d for d in tickets if before(d, "last_solved_at", "created_at")])
    found += of("activities", "ended_before_begun", [d for d in done if before(d, "ended_at", "occurred_at")])
    for entity in ("account_status_history", "ticket_status_history"):
        found += of(entity, "ended_before_begun", [d for d in alive(rows, entity) if before(d, "valid_to", "valid_from")])
    for entity, name in (("deals", "closed_at"), ("deals", "created_at"), ("leads", "created_at"), ("leads", "converted_at"),
                         ("tickets", "created_at"), ("tickets", "last_solved_at"), ("survey_responses", "submitted_at")):  # fmt: skip
        label = name.removesuffix("_at") + "_in_the_future"
        found += of(entity, label, [row for row in alive(rows, entity) if to_come(row, name)])
    found += of(
        "activities", "completed_in_the_future", [d for d in done if d["status"] == "completed" and to_come(d, "occurred_at")]
    )
    found += of("activities", "negative_duration", [d for d in done if (d["duration_s"] or 0) < 0])
    for deal in deals:
        state, amount, money = deal["state"], deal["amount"], deal["currency"]
        checks = {
            "closed_without_date": state in ("won", "lost") and deal["closed_at"] is None,
            "closed_without_reason": state == "lost" and not (deal["loss_reason"] or "").strip(),
            "created_at_missing": deal["created_at"] is None,
            "state_unknown": state not in ("won", "lost", "open"),
            "amount_missing": state != "lost" and amount is None,
            "amount_zero": state != "lost" and amount == 0,
            "amount_negative": amount is not None and amount < 0,
            "currency_unknown": money == "eur",
            "currency_missing": amount is not None and money is None,
            "exchange_rate_missing": amount is not None and money == "eur",
            "probability_off_scale": deal["probability"] is not None and not 0 <= deal["probability"] <= 1,
            "overdue": state == "open"
            and deal["expected_close_date"] is not None
            and deal["expected_close_date"] < local_day(NOW),
        }
        for name, has_it in checks.items():
            found += of("deals", name, [deal] if has_it else [])
    for row in answers:
        ends = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}[row["kind"]]
        low, high = (own if own is not None else end for own, end in zip((row["scale_min"], row["scale_max"]), ends, strict=True))
        score = row["score"]
        if score is not None:
            is_off = not low <= score <= high or (row["kind"] == "nps" and not 0 <= score <= 10)
            found += of("survey_responses", "score_off_scale", [row] if is_off else [])
            found += of("survey_responses", "score_not_whole", [row] if row["kind"] == "nps" and score % 1 else [])
    found += [{**row, "problem": "duplicate"} for row in compared(rows, period) if row["doubles"]]
    return found


KPIS = {
    ("missing_owner_share", ()): (lambda r, p: list(held(r, p)), lambda f: ratio(f, "lacking", "records"), ("entity", "owner", "team")),
    ("field_completeness", ()): (lambda r, p: list(completed(r, p, FIELDS)), lambda f: ratio(f, "complete", "open"), ("owner", "segment")),
    ("field_completeness", (("required", "loss_reason, amount"),)): (
        lambda r, p: list(completed(r, p, ("loss_reason", "amount"))), lambda f: ratio(f, "complete", "open"), ("owner", "segment"),
    ),
    ("duplicate_rate", ()): (lambda r, p: list(compared(r, p)), lambda f: ratio(f, "doubles", "records"), ("entity", "owner")),
    ("data_problems", ()): (problems, len, ("problem", "entity")),
}  # fmt: skip
