"""The satisfaction KPIs once more, row by row in plain Python, from the catalogue's words."""

from __future__ import annotations

from fractions import Fraction

from tests.kpis.company import NOW, alive, by_id, within

CUTS = ("owner", "team", "segment", "source")


def ratio(facts, above, below):
    tops, bottoms = (sum(fact.get(name, 0) for fact in facts) for name in (above, below))
    return Fraction(tops, bottoms) if bottoms else None


def answers(rows, kind, ends):
    latest = {}
    for row in sorted(alive(rows, "survey_responses"), key=lambda r: (r["submitted_at"] or NOW, f"crm:{r['id']}")):
        low, high = ends
        if kind != "nps":
            low = low if row["scale_min"] is None else row["scale_min"]
            high = high if row["scale_max"] is None else row["scale_max"]
        score = row["score"]
        if row["kind"] != kind or score is None or not low <= score <= high or (kind == "nps" and score % 1):
            continue
        if row["submitted_at"] is None or row["submitted_at"] > NOW:
            continue
        about = row["wave_id"] or (row["ticket_id"] if kind != "nps" else None) or row["id"] + "!"
        latest[row["respondent_id"] or row["id"] + "!", about] = {**row, "low": Fraction(low), "high": Fraction(high)}
    return latest.values()


def given(rows, period, kind, ends):
    tickets = by_id(rows, "tickets")
    for row in answers(rows, kind, ends):
        if within(row["submitted_at"], period):
            part = (Fraction(row["score"]) - row["low"]) / (row["high"] - row["low"])
            group = tickets[row["ticket_id"]]["group_id"] if row["ticket_id"] in tickets else None
            yield {**row, "part": part, "satisfied": int(part >= Fraction(3, 4)), "answers": 1, "group_id": group}


def nps(facts):
    scores = [fact["score"] for fact in facts]
    return Fraction(100 * (sum(s >= 9 for s in scores) - sum(s <= 6 for s in scores)), len(scores)) if scores else None


def mean(facts, top):
    return 1 + (top - 1) * sum(fact["part"] for fact in facts) / len(facts) if facts else None


def sends(rows, period, kind):
    accounts = by_id(rows, "accounts")
    for send in alive(rows, "survey_sends"):
        answered = False
        for row in alive(rows, "survey_responses"):
            if row["submitted_at"] is None or row["submitted_at"] > NOW or row["score"] is None:
                continue
            same = all(row[key] is not None and row[key] == send[key] for key in ("respondent_id", "kind", "wave_id"))
            answered |= row["send_id"] == send["id"] or (row["send_id"] is None and same)
        was_delivered = answered or (send["delivered_at"] is not None and send["delivered_at"] <= NOW)
        if was_delivered and within(send["sent_at"], period) and kind in ("all", send["kind"]):
            yield {**send, "owner_id": accounts.get(send["account_id"], {}).get("owner_id"), "answers": int(answered), "sends": 1}


KPIS = {
    ("nps", ()): (lambda r, p: list(given(r, p, "nps", (0, 10))), nps, CUTS),
    ("csat", ()): (lambda r, p: list(given(r, p, "csat", (1, 5))), lambda f: ratio(f, "satisfied", "answers"), (*CUTS, "group")),
    ("csat", (("form", "mean"),)): (lambda r, p: list(given(r, p, "csat", (1, 5))), lambda f: mean(f, 5), (*CUTS, "group")),
    ("ces", ()): (lambda r, p: list(given(r, p, "ces", (1, 7))), lambda f: mean(f, 7), (*CUTS, "group")),
}
for kind in ("all", "nps", "csat", "ces"):
    KPIS["survey_response_rate", (("kind", kind),) if kind != "all" else ()] = (
        lambda r, p, k=kind: list(sends(r, p, k)), lambda f: ratio(f, "answers", "sends"), (*CUTS, "kind"),
    )  # fmt: skip
