"""Which records count, once more, row by row in plain Python: what is left of a CRM's rows when the population is taken.

A row is out where it is the company's own, where its deal is in another pipeline, or where what it belongs to is out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
PARENTS = {
    "order_lines": [("order_id", "orders")],
    "refunds": [("order_id", "orders")],
    "orders": [("deal_id", "deals")],
    "mrr_movements": [("subscription_id", "subscriptions")],
    "attributions": [("deal_id", "deals"), ("order_id", "orders")],
    "deal_lines": [("deal_id", "deals")],
    "deal_stage_history": [("deal_id", "deals")],
    "deal_field_history": [("deal_id", "deals")],
    "ticket_status_history": [("ticket_id", "tickets")],
    "ticket_comments": [("ticket_id", "tickets")],
    "ticket_schedule_history": [("ticket_id", "tickets")],
    "survey_sends": [("ticket_id", "tickets")],
    "survey_responses": [("send_id", "survey_sends"), ("ticket_id", "tickets")],
}
ACTIVITIES = {"account_id": "accounts", "contact_id": "contacts", "deal_id": "deals", "lead_id": "leads"}


def counted(
    rows: Rows, *, domains: Sequence[str] = (), pipelines: Sequence[str] = (), without_pipelines: Sequence[str] = ()
) -> dict[str, list[Row]]:
    """The rows that count, of every table. Pipelines are given by id."""
    found = {name: list(some) for name, some in rows.items()}
    ours = {name: set[str]() for name in ("accounts", "contacts", "deals", "leads")}
    ours["accounts"] = our_accounts(rows, domains)
    for name in ("contacts", "deals", "leads"):
        for row in rows.get(name, ()):
            account = row.get("converted_account_id" if name == "leads" else "account_id")
            is_ours = account in ours["accounts"]
            if name == "leads" or (name == "contacts" and account is None):
                is_ours = is_ours or is_own(row.get("email"), domains)
            if is_ours:
                ours[name].add(row["id"])

    def is_elsewhere(deal: Row) -> bool:
        pipeline = deal.get("pipeline_id")
        return (bool(pipelines) and pipeline not in pipelines) or pipeline in without_pipelines

    elsewhere = {deal["id"] for deal in rows.get("deals", ()) if is_elsewhere(deal)}
    out: dict[str, set[str]] = {**ours, "deals": ours["deals"] | elsewhere}
    for name in ("tickets", "orders", "subscriptions", "survey_sends", *PARENTS, *rows):
        if name not in out:
            out[name] = {row["id"] for row in rows.get(name, ()) if _is_out(name, row, ours, out)}
    links = rows.get("activity_links", ())
    out["activities"] = {
        row["id"] for row in rows.get("activities", ()) if _names_nobody_else(row, links, ours) or row.get("deal_id") in elsewhere
    }
    return {name: [row for row in some if row["id"] not in out[name]] for name, some in found.items()}


def _is_out(name: str, row: Row, ours: Mapping[str, set[str]], out: Mapping[str, set[str]]) -> bool:
    if name in ("activity_links", "activities"):
        return False
    if row.get("account_id") is not None:
        is_ours = row["account_id"] in ours["accounts"]
    else:
        people = {_bare(one) for one in ours["contacts"] | ours["leads"]}
        is_ours = any(row.get(key) in ours["contacts"] for key in ("contact_id", "requester_id")) or any(
            row.get(key) is not None and _bare(row[key]) in people for key in ("recipient_id", "person_id", "respondent_id")
        )
    return is_ours or any(row.get(key) in out[parent] for key, parent in PARENTS.get(name, ()))


def _names_nobody_else(activity: Row, links: Sequence[Row], ours: Mapping[str, set[str]]) -> bool:
    named = [activity[key] in ours[table] for key, table in ACTIVITIES.items() if activity.get(key) is not None]
    for link in links:
        is_of_it = link["activity_id"] == activity["id"] and link["object_id"] is not None and link.get("deleted_at") is None
        if is_of_it and link["object_type"] in ours:
            named.append(_bare(link["object_id"]) in {_bare(one) for one in ours[link["object_type"]]})
    return bool(named) and all(named)


def our_accounts(rows: Rows, domains: Sequence[str]) -> set[str]:
    """Ids of the company's own accounts, and of what was merged into them."""
    accounts = {row["id"]: row for row in rows.get("accounts", ())}

    def is_ours(row: Row) -> bool:
        if row.get("lifecycle") == "internal" or is_own(row.get("domain"), domains):
            return True
        if (row.get("domain") or "").strip():
            return False
        mails = [
            one["email"] for one in rows.get("contacts", ())
            if one.get("account_id") == row["id"] and one.get("email") and one.get("deleted_at") is None
            and one.get("merged_into_id") is None and not one.get("is_test")
        ]  # fmt: skip
        return bool(mails) and all(is_own(mail, domains) for mail in mails)

    own = {key for key, row in accounts.items() if is_ours(row)}
    return {key for key in accounts if _last(key, lambda one: accounts.get(one, {}).get("merged_into_id")) in own}


def _last(key: str, after: Callable[[str], str | None]) -> str:
    seen = {key}
    while (then := after(key)) is not None and then not in seen:
        seen.add(then)
        key = then
    return key


def is_own(text: str | None, domains: Sequence[str]) -> bool:
    """Whether a mail or web address is of one of the domains."""
    host = (text or "").strip().lower().rpartition("@")[2].removeprefix("https://").removeprefix("http://")
    host = host.partition("/")[0]
    return any(host == domain or host.endswith("." + domain) for domain in domains)


def _bare(key: str) -> str:
    return key.removeprefix("crm:")
