"""The customer KPIs once more, row by row in plain Python, from the catalogue's words: what the engine is compared with.

``KPIS[name, params]`` is a function of the company, a period and the accounts that are looked at.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from tests.kpis import days

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
NEW_RATE = date(2017, 12, 1)
RATES = {"USD": [(date(2000, 1, 1), NEW_RATE, Fraction(9, 10)), (NEW_RATE, None, Fraction(85, 100))]}
PER_YEAR = {"week": 52, "month": 12, "quarter": 4, "half": 2, "year": 1, None: 12}
BASES = ("lifecycle", "orders", "subscription", "deal")


class NoRateError(LookupError):
    """An amount counts that no exchange rate covers: the figure is an error."""


# ---- a small, nasty company


def random_rows(seed, *, pounds=False):  # noqa: C901 - a row of makers
    """Nulls, instants at the bounds of periods, overlapping and impossible spans, merged, deleted, test and internal accounts.

    Args:
        seed: of the random numbers.
        pounds: whether some amounts are in a currency without rates.
    """
    rng = random.Random(seed)
    firsts = [date(2017, month, 1) for month in range(7, 13)] + [date(2018, 1, 1)]
    edges = [datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC) for day in firsts] + [NOW]

    def instant(nulls=0.08):
        if rng.random() < nulls:
            return None
        if rng.random() < 0.35:
            return rng.choice(edges) + rng.choice([-1, 0, 0, 1]) * TICK
        return NOW - timedelta(minutes=rng.randrange(-15 * 1440, 190 * 1440))

    def after(start):
        """Later than something, or never, at once, or impossibly before it."""
        if start is None or rng.random() < 0.35:
            return None
        return rng.choice([start + timedelta(minutes=rng.randrange(100 * 1440)), rng.choice(edges), start, start - DAY])

    def marks(share=0.05):
        kind = rng.random()
        return {
            "deleted_at": NOW + timedelta(days=rng.choice([-1, 0, 7])) if kind < share else None,
            "merged_into_id": None,
            "is_test": share < kind < 2 * share,
        }

    def some(number, make):
        return [{"id": f"{one}", **make(one), **marks()} for one in range(number)]

    names = [f"a{one}" for one in range(14)]
    account = lambda: rng.choice([*names, *names, "unknown", None])  # noqa: E731
    money = lambda: rng.choice(["EUR", "EUR", None, "USD", "GBP" if pounds else "USD"])  # noqa: E731
    amount = lambda: rng.choice([Decimal(rng.randrange(1, 99_999)) / 100, Decimal(100), Decimal(0), None])  # noqa: E731
    accounts = []
    for one, name in enumerate(names):
        row = {
            "id": name, "name": name, "owner_id": rng.choice(["ada", "bob", None]), "region": rng.choice([None, "EMEA", "APAC"]),
            "lead_source": rng.choice([None, "web", "fair"]), "segment": rng.choice([None, "large", "small"]),
            "lifecycle": rng.choice(["customer", "customer", "former", "prospect", None]), "became_customer_at": instant(0.4),
            "parent_id": rng.choice([None, None, "a0", "a1"]), **marks(0.02),
        }  # fmt: skip
        row["lifecycle"] = "internal" if one == 12 else row["lifecycle"]
        row["merged_into_id"] = {10: "a2", 11: "a10"}.get(one)
        row["deleted_at"] = NOW - DAY if one == 11 else row["deleted_at"]
        accounts.append(row)

    def status(_):
        start = instant()
        kind = rng.choice(["active", "active", "active", "churned", "prospect", "paused"])
        return {"account_id": account(), "status": kind, "valid_from": start, "valid_to": after(start)}

    def deal(_):
        state = rng.choice(["won", "won", "lost", "open"])
        return {"account_id": account(), "state": state, "closed_at": instant() if state != "open" else None, "owner_id": "ada"}

    def order(_):
        paid = rng.choice([amount(), amount(), Decimal(-5)])
        return {
            "account_id": account(), "ordered_at": instant(), "created_at": instant(), "owner_id": rng.choice(["ada", None]),
            "net_amount": paid, "currency": money(), "status": rng.choice(["placed", "paid", None, "cancelled"]),
        }  # fmt: skip

    orders = some(45, order)
    for number, one in enumerate(orders):  # some never, others some days after they were placed or booked
        for name, since, every in (("invoiced_at", "created_at", 5), ("paid_at", "ordered_at", 4)):
            later = timedelta(days=number % 40)
            one[name] = None if number % every == 0 or one[since] is None else one[since] + later

    def refund(_):
        of = rng.choice(orders)
        paid = of["net_amount"] or Decimal(1)
        back = rng.choice([paid, paid / 2, Decimal(7), -Decimal(3), None])
        return {
            "order_id": rng.choice([of["id"], of["id"], "unknown", None]), "account_id": account(), "refunded_at": instant(),
            "amount": back, "currency": rng.choice([of["currency"], None]),
        }  # fmt: skip

    def line(_):
        return {
            "order_id": rng.choice(orders)["id"], "product_id": rng.choice(["p0", "p1", "p2", None]), "net_amount": amount(),
            "quantity": rng.choice([None, Decimal(1), Decimal(2), Decimal(5)]), "currency": money(),
        }  # fmt: skip

    def subscription(_):
        start = instant()
        end = after(start)
        return {
            "account_id": account(), "started_at": start, "ended_at": end, "product_id": rng.choice(["p0", "p1", "p3", None]),
            "cancel_requested_at": rng.choice([None, None, after(start)]), "trial_end": rng.choice([None, None, after(start)]),
            "status": rng.choice(["active", "active", None, "past_due", "trial", "paused", "ended"]), "amount": amount(),
            "interval": rng.choice([*PER_YEAR, "fortnight"]), "discount": rng.choice([None, Decimal(5), Decimal(500)]),
            "discount_forever": rng.choice([None, True, False]), "currency": money(), "owner_id": None,
        }  # fmt: skip

    def move(_):
        kind = rng.choice(["new", "expansion", "reactivation", "contraction", "churn", "fx"])
        sign = -1 if kind in ("contraction", "churn") else 1
        return {
            "account_id": account(),
            "at": instant(),
            "kind": kind,
            "amount": sign * Decimal(rng.randrange(100, 9999)) / 100,
            "currency": money(),
        }

    def cost(_):
        first = (NOW - timedelta(days=rng.randrange(-5, 150))).date()
        return {
            "date": first, "last_day": rng.choice([None, first, first + timedelta(days=rng.randrange(40)), first - DAY]),
            "amount": amount(), "currency": money(), "scope": rng.choice([None, "marketing", "sales"]),
            "channel": rng.choice([None, "web", "fair"]),
        }  # fmt: skip

    rates = [
        {"id": f"{code}{n}", "from_currency": code, "to_currency": "EUR", "valid_from": start, "valid_to": end, "rate": Decimal(rate.numerator) / rate.denominator}  # noqa: E501
        for code, spans in RATES.items()
        for n, (start, end, rate) in enumerate(spans)
    ]  # fmt: skip
    return {
        "accounts": accounts, "account_status_history": some(30, status), "deals": some(20, deal), "orders": orders,
        "refunds": some(15, refund), "order_lines": some(50, line), "subscriptions": some(40, subscription),
        "mrr_movements": some(30, move), "campaign_costs": some(15, cost), "fx_rates": rates,
        "products": [{"id": f"p{n}", "name": f"Product {n}", "category": [None, "soft", "soft", "hard"][n]} for n in range(4)],
        "users": [{"id": "ada", "name": "Ada Example", "team": "north", "region": "AMER"}, {"id": "bob", "name": "Bob Example"}],
    }  # fmt: skip


# ---- what every KPI needs


def alive(row):
    is_deleted = row.get("deleted_at") is not None and row["deleted_at"] <= NOW
    return not is_deleted and row.get("merged_into_id") is None and not row.get("is_test")


def local(instant):
    return instant.astimezone(ZONE).date()


def until(period):
    """What happens before this is known."""
    return period.end if period.end <= NOW else NOW + TICK


def within(instant, period):
    return instant is not None and period.start <= instant < until(period)


def ratio(above, below):
    return None if below == 0 else Fraction(above) / Fraction(below)


def in_euro(amount, currency, day, excludes=False):
    if amount is None or currency in (None, "EUR"):
        return None if amount is None else Fraction(amount)
    for start, end, rate in RATES.get(currency, ()):
        if day is not None and start <= day and (end is None or day < end):
            return Fraction(amount) * rate
    if excludes:
        return None
    raise NoRateError


class Company:
    """The rows, and who stands for whom."""

    def __init__(self, rows):
        self.rows = rows
        self.by_id = {row["id"]: row for row in rows["accounts"]}

    def alive(self, entity):
        return [row for row in self.rows[entity] if alive(row)]

    def who(self, name):
        """The account that counts for one, or None: nobody, or one that does not count."""
        row = self.by_id.get(name)
        if row is None:
            return name
        if row["is_test"] or (row["merged_into_id"] is None and not alive(row)):
            return None
        while row["merged_into_id"] is not None:
            row = self.by_id[row["merged_into_id"]]
        return row["id"] if alive(row) and row["lifecycle"] != "internal" else None

    def accounts(self):
        """All accounts that count, and the one that nobody has delivered."""
        return {self.who(name) for name in [*self.by_id, "unknown"]} - {None}

    def segment_of(self, name, by):
        row = self.by_id.get(name, {})
        if by == "account":
            return None if name is None else f"crm:{name}"
        if by == "owner":
            return f"crm:{row['owner_id']}" if row.get("owner_id") else None
        if by == "region":
            user = {"ada": "AMER"}.get(row.get("owner_id"))
            return row.get("region") or user
        return row.get(by)


def is_whole(company, order):
    """Not wholly refunded."""
    back = [
        row["amount"] or 0
        for row in company.alive("refunds")
        if row["order_id"] == order["id"] and row["refunded_at"] and row["refunded_at"] <= NOW
    ]
    return not (order["net_amount"] is not None and order["net_amount"] > 0 and sum(back) >= order["net_amount"])


def purchases(company):
    """(account, order) of everything that counts as a purchase."""
    found = []
    for row in company.alive("orders"):
        is_note = row["net_amount"] is not None and row["net_amount"] < 0
        name = company.who(row["account_id"])
        if row["status"] != "cancelled" and not is_note and name is not None and is_whole(company, row):
            found.append((name, row))
    return found


# ---- who is a customer when


def ends(row, churn_date):
    end, notice = row["ended_at"], row["cancel_requested_at"]
    if churn_date == "cancellation" and notice is not None and (end is None or notice < end):
        return notice
    return end + DAY if end is not None and churn_date == "day_after" else end


def paid_from(row):
    trial = row["trial_end"]
    return trial if row["started_at"] is not None and trial is not None and trial > row["started_at"] else row["started_at"]


def is_running(row, churn_date):
    """Whether a subscription counts at all, as far as its dates and status go."""
    if row["status"] == "trial" or (row["status"] in ("paused", "ended") and row["ended_at"] is None):
        return False
    start, end = paid_from(row), ends(row, churn_date)
    return start is not None and (end is None or end > start)


def spans(company, basis, lookback=365, churn_date="term_end"):  # noqa: C901 - four bases
    """{account: [(since, until or None)]}."""
    found = {}

    def add(name, start, end):
        who = company.who(name)
        if who is not None and start is not None and (end is None or end > start):
            found.setdefault(who, []).append((start, end))

    if basis == "orders":
        for name, row in purchases(company):
            if row["ordered_at"] is not None:
                add(name, row["ordered_at"], row["ordered_at"] + lookback * DAY)
    elif basis == "subscription":
        for row in company.alive("subscriptions"):
            if is_running(row, churn_date) and row["amount"] is not None and row["amount"] - (row["discount"] or 0) > 0:
                add(row["account_id"], paid_from(row), ends(row, churn_date))
    elif basis == "deal":
        left = [
            (company.who(row["account_id"]), row["valid_from"])
            for row in company.alive("account_status_history")
            if row["status"] == "churned"
        ]
        for row in company.alive("deals"):
            who = company.who(row["account_id"])
            if row["state"] != "won" or who is None or row["closed_at"] is None or row["closed_at"] > NOW:
                continue
            known = [when for name, when in left if name == who and when is not None]
            if company.by_id.get(who, {}).get("lifecycle") == "former" and not known:
                continue
            add(who, row["closed_at"], min((when for when in known if when > row["closed_at"]), default=None))
    else:
        history = company.alive("account_status_history")
        for row in history:
            if row["status"] == "active":
                add(row["account_id"], row["valid_from"], row["valid_to"])
        for row in company.alive("accounts"):
            own = [one for one in history if one["account_id"] == row["id"] and one["valid_from"] is not None]
            first = min(own, key=lambda one: (one["valid_from"], f"crm:{one['id']}"), default=None)
            if first is None and row["lifecycle"] == "customer":
                add(row["id"], row["became_customer_at"], None)
            elif first is not None and first["status"] == "active" and row["became_customer_at"]:
                add(row["id"], row["became_customer_at"], first["valid_from"])  # impossible spans are none
    return {name: joined(some) for name, some in found.items()}


def joined(some):
    """Spans without a gap made one."""
    found = []
    for start, end in sorted(some, key=lambda span: span[0]):
        if found and (found[-1][1] is None or found[-1][1] >= start):
            last = found[-1][1]
            found[-1] = (found[-1][0], None if last is None or end is None else max(last, end))
        else:
            found.append((start, end))
    return found


def is_there(some, instant):
    """A customer just before an instant."""
    return any(start < instant and (end is None or end >= instant) for start, end in some)


class Base:
    """The customers of a period."""

    def __init__(self, company, period, accounts, basis, **more):
        self.spans = {name: some for name, some in spans(company, basis, **more).items() if name in accounts}
        self.start = {name for name, some in self.spans.items() if is_there(some, period.start)}
        self.end = {name for name, some in self.spans.items() if is_there(some, until(period))}
        self.new = {name for name, some in self.spans.items() if within(some[0][0], period)}
        self.back = sum(within(start, period) for some in self.spans.values() for start, _ in some[1:])
        self.lost = sum(within(end, period) for some in self.spans.values() for _, end in some)
        self.joined = {name for name, some in self.spans.items() if any(within(start, period) for start, _ in some)}


def daily(base, period):
    """Sum over the days of lost / there at the day's start."""
    total, is_any, day = Fraction(0), False, local(period.start)
    while (begins := midnight(day)) < until(period):
        there = {name for name, some in base.spans.items() if is_there(some, begins)}
        after = min(midnight(day + DAY), until(period))
        if there:
            gone = {name for name in there if not is_there(base.spans[name], after)}
            total, is_any = total + Fraction(len(gone), len(there)), True
        day += DAY
    return total if is_any else None


def midnight(day):
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)


# ---- the KPIs


def churn(company, period, accounts, method="gross", same_window="exclude", **basis):
    base = Base(company, period, accounts, **basis)
    gone = base.start - base.end
    match method:
        case "net":
            return ratio(len(base.start) - len(base.end), len(base.start))
        case "start_plus_new":
            return ratio(len((base.start | base.joined) - base.end), len(base.start | base.joined))
        case "daily":
            return daily(base, period)
    if same_window == "include":
        gone |= base.joined - base.end
    return ratio(len(gone), len(base.start))


def retention(company, period, accounts, method="cohort", **basis):
    base = Base(company, period, accounts, **basis)
    kept = len(base.start & base.end) if method == "cohort" else len(base.end) - len(base.new)
    return ratio(kept, len(base.start))


def active(company, period, accounts, at="end", **basis):
    base = Base(company, period, accounts, **basis)
    return {"end": len(base.end), "start": len(base.start), "average": Fraction(len(base.start) + len(base.end), 2)}[at]


def repurchase(company, period, accounts, **basis):
    start = Base(company, period, accounts, **basis).start
    return ratio(len(start & {name for name, row in purchases(company) if within(row["ordered_at"], period)}), len(start))


def loyal(company, period, accounts, least=3, what="ratio", complement=False, days=None, dedupe=False):
    bought = {}
    for name, row in purchases(company):
        when = row["ordered_at"]
        if name not in accounts or when is None or when >= until(period):
            continue
        if days is None or math.floor((until(period) - when).total_seconds()) <= 86_400 * days:
            bought.setdefault(name, []).append(local(when))
    often = [name for name, some in bought.items() if (len(set(some) if dedupe else some) >= least) != complement]
    return len(often) if what == "count" else ratio(len(often), len(bought))


def things(company, level):
    """{(account, thing, origin, at): size} of what was bought or subscribed to."""
    category = {row["id"]: row["category"] for row in company.rows["products"]}

    def thing(product):
        return (category.get(product) or product) if level == "category" else product

    of = {row["id"]: (name, row) for name, row in purchases(company)}
    found = {}

    def add(name, product, origin, at, size):
        if product is not None and at is not None:
            key = (name, thing(product), origin, at)
            known = found.get(key)
            found[key] = known if size is None else size + (known or 0)

    for row in company.alive("order_lines"):
        if row["order_id"] in of:
            name, order = of[row["order_id"]]
            add(name, row["product_id"], "order", order["ordered_at"], 1 if row["quantity"] is None else row["quantity"])
    for row in company.alive("subscriptions"):
        name = company.who(row["account_id"])
        if row["status"] != "trial" and name is not None:
            size = None if row["amount"] is None else (row["amount"] - (row["discount"] or 0)) * PER_YEAR.get(row["interval"], 12)
            add(name, row["product_id"], "subscription", row["started_at"], size)
    return found


def cross_sell(company, period, accounts, kind="cross_sell", level="product", **basis):
    start, bought, buyers = Base(company, period, accounts, **basis).start, things(company, level), set()
    for (name, thing, origin, at), size in bought.items():
        before = [(key, other) for key, other in bought.items() if key[:2] == (name, thing) and key[3] < at]
        is_new = not before
        peaks = [other for key, other in before if key[2] == origin and other is not None]
        is_more = bool(peaks) and size is not None and size > max(peaks)
        if within(at, period) and (is_new if kind == "cross_sell" else is_more):
            buyers.add(name)
    return ratio(len(start & buyers), len(start))


def repeat(company, period, accounts):
    some = [(name, row["ordered_at"]) for name, row in purchases(company) if name in accounts and row["ordered_at"] is not None]
    first = {name: min(when for other, when in some if other == name) for name, _ in some}
    now = [(name, when) for name, when in some if within(when, period)]
    return ratio(sum(when > first[name] for name, when in now), len(now))


def _kpi(function, **fixed):
    return lambda company, period, accounts: function(company, period, accounts, **fixed)


KPIS = {}
for _basis in BASES:
    _more = {"basis": _basis, **({"lookback": 40} if _basis == "orders" else {})}
    _params = {"basis": _basis, **({"lookback_days": "40"} if _basis == "orders" else {})}

    def _add(name, function, given=None, **fixed):
        KPIS[name, tuple(sorted({**_params, **(given or {})}.items()))] = _kpi(function, **_more, **fixed)  # noqa: B023

    for _at in ("end", "start", "average"):
        _add("active_customers", active, {"at": _at}, at=_at)
    _add("active_customers", days.mean(active, NOW), {"snap": "avg"})
    _add("new_customers", lambda c, p, a, **more: len(Base(c, p, a, **more).new))
    _add("lost_customers", lambda c, p, a, **more: Base(c, p, a, **more).lost)
    _add("reactivated_customers", lambda c, p, a, **more: Base(c, p, a, **more).back)
    for _method in ("gross", "net", "start_plus_new", "daily"):
        _add("customer_churn_rate", churn, {"method": _method}, method=_method)
    _add("customer_churn_rate", churn, {"same_window": "include"}, same_window="include")
    for _method in ("cohort", "formula"):
        _add("customer_retention_rate", retention, {"method": _method}, method=_method)
    _add("repurchase_rate", repurchase)
    for _kind in ("cross_sell", "upsell"):
        for _level in ("product", "category"):
            _add("cross_sell_rate", cross_sell, {"kind": _kind, "level": _level}, kind=_kind, level=_level)
for _date in ("cancellation", "day_after"):
    _more, _params = {"basis": "subscription", "churn_date": _date}, {"basis": "subscription", "churn_date": _date}
    _add("active_customers", active)
    _add("lost_customers", lambda c, p, a, **more: Base(c, p, a, **more).lost)
    _add("customer_churn_rate", churn)
KPIS |= {
    ("loyal_customer_share", ()): _kpi(loyal),
    ("loyal_customer_share", (("min_purchases", "2"),)): _kpi(loyal, least=2),
    ("loyal_customer_share", (("as", "count"), ("min_purchases", "2"))): _kpi(loyal, least=2, what="count"),
    ("loyal_customer_share", (("complement", "true"),)): _kpi(loyal, complement=True),
    ("loyal_customer_share", (("lookback_days", "60"), ("min_purchases", "2"), ("window", "rolling"))): _kpi(
        loyal, least=2, days=60
    ),
    ("loyal_customer_share", (("dedupe", "day"), ("min_purchases", "2"))): _kpi(loyal, least=2, dedupe=True),
    ("repeat_order_share", ()): _kpi(repeat),
}
