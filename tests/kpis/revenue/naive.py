"""The revenue KPIs once more, row by row in plain Python, from the catalogue's words: what the engine is compared with.

``KPIS[name, params]`` is a function of the company, a period and the accounts that are looked at (None among them: nobody's).
The company and who its customers are come from the customers' second implementation.
"""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from statistics import median

from tests.kpis import days

_place = Path(__file__).parents[1] / "customer" / "naive.py"
_spec = importlib.util.spec_from_file_location("naive_customer_of_revenue", _place)
people = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(people)

DAY, NOW, NoRateError = people.DAY, people.NOW, people.NoRateError
alive, in_euro, local, ratio, until, within = (
    people.alive, people.in_euro, people.local, people.ratio, people.until, people.within,
)  # fmt: skip
KINDS = ("new", "expansion", "contraction", "churn", "reactivation", "fx")


# ---- orders


class Sale:
    """An order or a refund; ``net`` is asked for only if it counts."""

    def __init__(self, name, at, amount, currency, *, is_purchase):
        self.name, self.at, self.amount, self.currency, self.is_purchase = name, at, amount, currency, is_purchase

    def net(self, excludes):
        return in_euro(self.amount, self.currency, local(self.at), excludes)


def sales(company, refund_basis="refund_date", rev_date="ordered_at"):
    found, every = [], {row["id"]: row for row in company.rows["orders"]}
    for row in company.alive("orders"):
        name = None if row["account_id"] is None else company.who(row["account_id"])
        if row["status"] == "cancelled" or (name is None and row["account_id"] is not None) or row[rev_date] is None:
            continue
        is_note = row["net_amount"] is not None and row["net_amount"] < 0
        is_purchase = not is_note and people.is_whole(company, row)
        found.append(Sale(name, row[rev_date], row["net_amount"], row["currency"], is_purchase=is_purchase))
    for row in company.alive("refunds"):
        of = every.get(row["order_id"])
        if row["refunded_at"] is None or row["refunded_at"] > NOW or (of and (of["status"] == "cancelled" or not alive(of))):
            continue
        account = (of["account_id"] if of else None) or row["account_id"]
        name = None if account is None else company.who(account)
        at = of[rev_date] if of and refund_basis == "order_date" else row["refunded_at"]
        if at is None or (name is None and account is not None):
            continue
        amount = None if row["amount"] is None else -abs(row["amount"])
        found.append(Sale(name, at, amount, row["currency"] or (of["currency"] if of else None), is_purchase=False))
    return found


def total(numbers):
    return sum((number for number in numbers if number is not None), Fraction(0))


def net_revenue(company, period, accounts, excludes=False, **when):
    return total(sale.net(excludes) for sale in sales(company, **when) if sale.name in accounts and within(sale.at, period))


def customers_of(company, period, accounts, basis, **more):
    return people.active(company, period, accounts - {None}, basis=basis, **more)


def per_customer(company, period, accounts, customers="active_in_period", revenue="orders", excludes=False, basis=None, **more):
    when = {name: more[name] for name in ("refund_basis", "rev_date") if name in more}
    prices = {name: more[name] for name in ("discounts", "churn_date", "movements") if name in more}
    if revenue == "mrr":
        money = mrr(company, period, accounts, excludes, **prices)
        paying = [name for name in accounts if end_of(company, period, {name}, excludes, **prices) > 0]
        number = len(paying)
    else:
        money = net_revenue(company, period, accounts, excludes, **when)
        some = [sale for sale in sales(company, **when) if sale.name in accounts and within(sale.at, period)]
        number = len({sale.name for sale in some if sale.is_purchase} - {None})
    if customers != "active_in_period":
        number = customers_of(
            company, period, accounts, basis or "lifecycle", at={"at_end": "end", "average": "average"}[customers]
        )
    return ratio(money, number)


def by_name(company, period, accounts, excludes, *, ever, **when):
    """{account: (net, number of purchases)}."""
    found = {}
    for sale in sales(company, **when):
        is_in = sale.at < until(period) if ever else within(sale.at, period)
        if sale.name in accounts and sale.name is not None and is_in:
            net, number = found.get(sale.name, (None, 0))
            worth = sale.net(excludes)
            found[sale.name] = (net if worth is None else worth + (net or 0), number + sale.is_purchase)
    return found


def parent_of(company, name):
    own = company.by_id.get(name, {})
    parent = company.by_id.get(own.get("parent_id"), {})
    return parent.get("parent_id") or own.get("parent_id") or name


def concentration(company, period, accounts, top_n=10, form="share", rollup="account", excludes=False, **when):
    everybody = company.accounts() | set(company.by_id)
    mine = {name for name in everybody if (parent_of(company, name) if rollup == "parent" else name) in accounts}
    nets = {}
    for name, (net, _) in by_name(company, period, mine, excludes, ever=False, **when).items():
        whose = parent_of(company, name) if rollup == "parent" else name
        if net is not None:
            nets[whose] = nets.get(whose, 0) + net
    everything = total(nets.values())
    if everything <= 0:
        return None
    if form == "hhi":
        return total(net * net for net in nets.values()) / everything**2
    return total(sorted((net for net in nets.values() if net > 0), reverse=True)[:top_n]) / everything


def lifetime(company, period, accounts, stat="mean", method="historic", excludes=False, **when):
    buyers = {sale.name for sale in sales(company, **when) if sale.is_purchase and sale.at < until(period)}
    known = by_name(company, period, accounts & buyers, excludes, ever=True, **when)
    values = [net for net, number in known.values() if number and net is not None]
    if method == "aov":
        return ratio(total(values), sum(number > 0 for _, number in known.values()))
    return (median(values) if stat == "median" else total(values) / len(values)) if values else None


def months(period):
    days = (local(period.end) - local(period.start)).days
    return max(round(days / 30.4375), 1) if days >= 28 else Fraction(days) / Fraction("30.4375")


def predicted(company, period, accounts, margin="1", basis="lifecycle", revenue="mrr", excludes=False, **more):
    arpa = per_customer(company, period, accounts, customers="at_end", revenue=revenue, basis=basis, excludes=excludes, **more)
    churn = people.churn(company, period, accounts - {None}, basis=basis)
    if not churn or arpa is None:
        return None
    monthly = arpa if revenue == "mrr" else arpa / months(period)
    return monthly * Fraction(margin) / (churn / months(period))


def growth(company, period, accounts):
    mine = [sale for sale in sales(company) if sale.name in accounts]
    length = (period.end - period.start).total_seconds()
    before = total(
        sale.net(False) for sale in mine if sale.at < period.start and (period.start - sale.at).total_seconds() // 1 <= length
    )
    now = net_revenue(company, period, accounts)
    return (now - before) / before if before > 0 else None


# ---- recurring revenue


def paid(company, discounts="all", churn_date="term_end", excludes=False):
    """(account, since, until, worth per year or None, row); worth NoRateError where a rate lacks."""
    found = []
    for row in company.alive("subscriptions"):
        name = company.who(row["account_id"]) if row["account_id"] is not None else None
        off = row["discount"] or 0
        if discounts == "forever_only" and not row["discount_forever"]:
            off = 0
        price = None if row["amount"] is None else row["amount"] - off
        if name is None or not people.is_running(row, churn_date) or (price is not None and price <= 0):
            continue
        times, start = people.PER_YEAR.get(row["interval"]), people.paid_from(row)
        worth = None if price is None or times is None else price * times
        try:
            euro = in_euro(worth, row["currency"], local(start), excludes)
        except NoRateError:
            euro = NoRateError
        found.append((name, start, people.ends(row, churn_date), euro, row))
    return found


def recorded(company, excludes=False):
    """(account, at, kind, per year)."""
    found = []
    for row in company.alive("mrr_movements"):
        name = company.who(row["account_id"]) if row["account_id"] is not None else None
        if name is None or row["at"] is None:
            continue
        try:
            euro = in_euro(row["amount"] * 12, row["currency"], local(row["at"]), excludes)
        except NoRateError:
            euro = NoRateError
        found.append((name, row["at"], row["kind"], euro))
    return found


def known(worth):
    if worth is NoRateError:
        raise NoRateError
    return worth or Fraction(0)


def annual(company, period, accounts, instant, excludes, movements="derived", **prices):
    """Recurring revenue per year just before an instant; an error if anything that runs in the period lacks a rate."""
    if movements == "recorded":
        some = [(at, worth) for name, at, _, worth in recorded(company, excludes) if name in accounts and at < until(period)]
        return total([known(worth) for at, worth in some if known(worth) is not None and at < instant])
    result = Fraction(0)
    for name, start, end, worth, _ in paid(company, excludes=excludes, **prices):
        if name in accounts and start < until(period) and (end is None or end >= period.start):
            value = known(worth)
            result += value if people.is_there([(start, end)], instant) else 0
    return result


def end_of(company, period, accounts, excludes, **more):
    return annual(company, period, accounts, until(period), excludes, **more)


def start_of(company, period, accounts, excludes, **more):
    return annual(company, period, accounts, period.start, excludes, **more)


def mrr(company, period, accounts, excludes=False, times=1, **more):
    return end_of(company, period, accounts, excludes, **more) * times / 12


def moves(company, period, accounts, excludes=False, movements="derived", **prices):  # noqa: C901 - both ways
    """(at, kind, per year) of the period."""
    if movements == "recorded":
        some = [one for one in recorded(company, excludes) if one[0] in accounts and within(one[1], period)]
        return [(at, kind, known(worth)) for _, at, kind, worth in some]
    found = []
    for account in accounts:
        changes = {}
        for name, start, end, worth, _ in paid(company, excludes=excludes, **prices):
            if name == account:
                for at, sign in ((start, 1), (end, -1)):
                    if at is not None:
                        changes.setdefault(at, []).append((sign, worth))
        balance, ever = Fraction(0), False
        for at in sorted(changes):
            lacking = any(worth is NoRateError for _, worth in changes[at])
            if lacking and within(at, period):
                raise NoRateError
            change = sum((sign * (0 if worth is NoRateError else worth or 0) for sign, worth in changes[at]), Fraction(0))
            before, balance = balance, balance + change
            if change == 0:
                continue
            if before == 0:
                kind = "reactivation" if ever else "new"
            elif balance == 0:
                kind = "churn"
            else:
                kind = "expansion" if change > 0 else "contraction"
            ever = True
            if within(at, period):
                found.append((at, kind, change))
    return found


def moved(company, period, accounts, *kinds, **more):
    return sum((worth for _, kind, worth in moves(company, period, accounts, **more) if not kinds or kind in kinds), Fraction(0))


def mrr_change(company, period, accounts, *kinds, **more):
    return moved(company, period, accounts, *kinds, **more) / 12


def mrr_churn(company, period, accounts, method="gross", excludes=False, **more):
    start = start_of(company, period, accounts, excludes, **more)
    lost = -moved(company, period, accounts, "churn", "contraction", excludes=excludes, **more)
    if method == "net":
        lost -= moved(company, period, accounts, "expansion", "reactivation", excludes=excludes, **more)
    if method != "daily":
        return ratio(lost, start)
    some, result, is_any, day = moves(company, period, accounts, excludes, **more), Fraction(0), False, local(period.start)
    while people.midnight(day) < until(period):
        today = [(kind, worth) for at, kind, worth in some if local(at) == day]
        if start > 0:
            result, is_any = result - sum(worth for kind, worth in today if kind in ("churn", "contraction")) / start, True
        start, day = start + sum(worth for _, worth in today), day + DAY
    return result if is_any else None


def revenue_retention(company, period, accounts, method="net", excludes=False, **more):
    before = after = Fraction(0)
    for name in accounts:
        start, end = (f(company, period, {name}, excludes, **more) for f in (start_of, end_of))
        if start > 0:
            before, after = before + start, after + (min(start, end) if method == "gross" else end)
    return ratio(after, before)


def quick(company, period, accounts, **more):
    lost = moved(company, period, accounts, "churn", "contraction", **more)
    return ratio(moved(company, period, accounts, "new", "expansion", **more), -lost)


def expansion(company, period, accounts, excludes=False, level="product"):
    """Order lines of what is new to somebody who bought before."""
    category = {row["id"]: row["category"] for row in company.rows["products"]}
    of = {row["id"]: (name, row) for name, row in people.purchases(company) if row["ordered_at"] is not None}
    lines = []
    for row in company.alive("order_lines"):
        if row["order_id"] in of and row["product_id"] is not None:
            name, order = of[row["order_id"]]
            thing = (category.get(row["product_id"]) or row["product_id"]) if level == "category" else row["product_id"]
            lines.append((name, thing, order["ordered_at"], row["net_amount"], row["currency"] or order["currency"]))
    result = Fraction(0)
    for name, thing, at, amount, currency in lines:
        first_thing = min(when for other, what, when, _, _ in lines if (other, what) == (name, thing))
        first_order = min(order["ordered_at"] for other, order in of.values() if other == name)
        if name in accounts and within(at, period) and at == first_thing and at > first_order:
            result += in_euro(amount, currency, local(at), excludes) or 0
    return result


# ---- costs


def spend(company, period, channels, scope="marketing", lag=0, excludes=False):
    """What is spent in the period, spread over days; None without any costs."""
    result, is_any = Fraction(0), False
    last_day = min(local(period.end - people.TICK), local(min(period.end, NOW)))
    for row in company.alive("campaign_costs"):
        if (scope == "marketing" and row["scope"] == "sales") or row["channel"] not in channels:
            continue
        first, last = row["date"], max(row["last_day"] or row["date"], row["date"])
        span = [first + n * DAY for n in range((last - first).days + 1)]
        days = sum(local(period.start) <= day + lag * DAY <= last_day for day in span)
        if days:
            is_any = True
            result += (in_euro(row["amount"], row["currency"], first, excludes) or 0) * days / len(span)
    return result if is_any else None


def cac(company, period, accounts, channels=(None, "web", "fair"), basis="lifecycle", **more):
    new = len(people.Base(company, period, accounts - {None}, basis).new)
    cost = spend(company, period, channels, **more)
    return None if cost is None or not new else cost / new


def ltv_cac(company, period, accounts, channels=(None, "web", "fair"), scope="marketing", **more):
    cost = cac(company, period, accounts, channels, scope=scope, basis=more.get("basis", "lifecycle"))
    value = predicted(company, period, accounts, **more)
    return None if not cost or value is None else value / cost


def payback(company, period, accounts, margin="1", basis="lifecycle", scope="marketing"):
    cost, arpa = cac(company, period, accounts, basis=basis, scope=scope), per_customer(company, period, accounts, revenue="mrr")
    return None if cost is None or not arpa else cost / (arpa * Fraction(margin))


# ---- all of them

KPIS = {}


def _add(name, function, *args, given=None, **fixed):
    params = tuple(sorted((given or {}).items()))
    KPIS[name, params] = lambda company, period, accounts: function(company, period, accounts, *args, **fixed)


_WHEN = [
    {"refund_basis": basis, "rev_date": date} for basis in ("refund_date", "order_date") for date in ("ordered_at", "created_at")
] + [{"rev_date": "invoiced_at"}, {"refund_basis": "order_date", "rev_date": "paid_at"}]
_PRICES = [
    {}, {"discounts": "forever_only"}, {"churn_date": "cancellation"}, {"churn_date": "day_after"}, {"movements": "recorded"},
]  # fmt: skip
for _when in _WHEN:
    _add("net_revenue", net_revenue, given=_when, **_when)
    _add("customer_lifetime_value", lifetime, given=_when, **_when)
    _add("revenue_concentration", concentration, given={**_when, "top_n": "2"}, top_n=2, **_when)
    _add("revenue_per_customer", per_customer, given=_when, **_when)
    _add("revenue_growth", growth) if _when is _WHEN[0] else None
_add("net_revenue", net_revenue, given={"missing_fx": "exclude"}, excludes=True)
_add("customer_lifetime_value", lifetime, given={"stat": "median"}, stat="median")
_add("customer_lifetime_value", lifetime, given={"method": "aov"}, method="aov")
_add("customer_lifetime_value", lifetime, given={"missing_fx": "exclude"}, excludes=True)
for _basis in people.BASES:
    _add(
        "customer_lifetime_value",
        predicted,
        given={"method": "predictive", "basis": _basis, "gross_margin": "0.8"},
        margin="0.8",
        basis=_basis,
    )
    _add("revenue_per_customer", per_customer, given={"customers": "at_end", "basis": _basis}, customers="at_end", basis=_basis)
    _add("cac", cac, given={"basis": _basis}, basis=_basis)
    _add("ltv_cac_ratio", ltv_cac, given={"basis": _basis}, basis=_basis)
    _add("cac_payback_months", payback, given={"basis": _basis, "gross_margin": "0.5"}, basis=_basis, margin="0.5")
_add("customer_lifetime_value", predicted, given={"method": "predictive", "revenue": "orders"}, revenue="orders")
_add("ltv_cac_ratio", ltv_cac, given={"revenue": "orders", "scope": "full"}, revenue="orders", scope="full")
_add("revenue_per_customer", per_customer, given={"customers": "average"}, customers="average")
_add("revenue_per_customer", per_customer, given={"missing_fx": "exclude"}, excludes=True)
_add("revenue_concentration", concentration, given={"as": "hhi"}, form="hhi")
_add("revenue_concentration", concentration, given={"rollup": "parent", "top_n": "1"}, rollup="parent", top_n=1)
for _level in ("product", "category"):
    _add("expansion_revenue", expansion, given={"kind": "cross_sell", "level": _level}, level=_level)
for _prices in _PRICES:
    _add("mrr", mrr, given=_prices, **_prices)
    _add("expansion_revenue", mrr_change, "expansion", given=_prices, **_prices)
    _add("revenue_per_customer", per_customer, given={"revenue": "mrr", **_prices}, revenue="mrr", **_prices)
    for _method in ("gross", "net", "daily"):
        _add("mrr_churn_rate", mrr_churn, given={"method": _method, **_prices}, method=_method, **_prices)
    for _method in ("net", "gross"):
        _add("revenue_retention", revenue_retention, given={"method": _method, **_prices}, method=_method, **_prices)
    _add("quick_ratio", quick, given=_prices, **_prices)
    for _kind in KINDS:
        _add("mrr_change", mrr_change, _kind, given={"kind": _kind, **_prices}, **_prices)
    _add("mrr_change", mrr_change, given=_prices, **_prices)
_add("mrr", mrr, given={"annual": "true"}, times=12)
_add("mrr", days.mean(mrr, NOW), given={"snap": "avg"})
_add("mrr", mrr, given={"missing_fx": "exclude"}, excludes=True)
_add("cac_payback_months", payback, given={"scope": "full"}, scope="full")
_add("cac", cac, given={"scope": "full"}, scope="full")
_add("cac", cac, given={"lag_days": "14"}, lag=14)
_add("cac", cac, given={"missing_fx": "exclude"}, excludes=True)
