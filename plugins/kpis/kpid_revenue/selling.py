"""KPIs of what customers bring in by orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from sqlalchemy import Double, and_, case, cast, or_
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import (
    At,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Quantity,
    Use,
    Values,
    count,
    count_distinct,
    mean,
    quantile,
    sum_,
    top_sum,
)

from .choices import (
    ACCOUNT_DIMENSIONS,
    BASIS_PARAMS,
    DAYS,
    DEGRADES_FX,
    MONTH,
    ORDER_DIMENSIONS,
    ORDER_PARAMS,
    RECURRING_PARAMS,
    chosen,
    flows,
    months_in,
    refunds,
)
from .orders import OPTIONAL, beside_previous, crossed, per_customer, revenue
from .recurring import by_customer, moves


def _net(entity: FromClause, clock: At | InPeriod, label: str = "orders") -> Measure:
    return Measure(entity, clock, sum_(entity.c.net), lacks=entity.c.net_lacks, label=label)


def _net_revenue(params: Mapping[str, str]) -> Definition:
    entity = revenue(*refunds(params))
    c, clock = entity.c, At(entity.c.at)
    none = Measure(entity, clock, count(and_(c.is_order == 1, c.amount.is_(None))), label="orders without an amount")
    return Definition({"net": _net(entity, clock), "none": none}, lambda m: m.net, optional=OPTIONAL, remarks=_no_amount)


def _no_amount(m: Values) -> list[str]:
    return [f"{m['none'].exact} orders have no amount"] if m["none"].exact else []


NET_REVENUE = Kpi(
    id="net_revenue",
    name="Net revenue",
    category="revenue",
    unit="currency",
    better="up",
    define=_net_revenue,
    dimensions=ORDER_DIMENSIONS,
    params=ORDER_PARAMS,
    formula_text="sum of net orders less refunds in the reporting currency; without tax and cancelled orders",
    why="What customers pay us: what all else is for.",
    misleads="With refund_basis=refund_date a month carries the refunds of older sales.",
    source="base measure",
    additivity="A",
    degrades=DEGRADES_FX,
)


def _expansion(params: Mapping[str, str]) -> Definition:
    if params["kind"] == "cross_sell":
        entity = crossed(params["level"])
        lines = _net(entity, At(entity.c.at), "order lines of new products")
        return Definition({"net": lines}, lambda m: m.net, optional=OPTIONAL)
    return movement(params, "expansion")


def moved_by(params: Mapping[str, str], kinds: Sequence[str] = ()) -> Measure:
    """Sum of the movements of some kinds, or of all; what lacks an exchange rate may be of any kind, and is looked at."""
    entity = moves(*flows(params))
    c = entity.c
    is_one = c.kind.in_(kinds)
    change = sum_(case((is_one, c.annual), else_=0), or_(is_one, c.lacks == 1)) if kinds else sum_(c.annual)
    return Measure(entity, At(c.at), change, lacks=c.lacks == 1, label="movements")


def movement(params: Mapping[str, str], *kinds: str) -> Definition:
    """Sum of the movements of some kinds per month, as positive or negative as they are; of all without any."""
    return Definition({"annual": moved_by(params, kinds)}, lambda m: m.annual * MONTH, optional=("accounts", "products"))


EXPANSION_REVENUE = Kpi(
    id="expansion_revenue",
    name="Expansion revenue",
    category="revenue",
    unit="currency",
    better="up",
    define=_expansion,
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "kind": Param(
            ("mrr", "cross_sell"), "Added recurring revenue per month, or orders of products that are new to a customer."
        ),
        "level": Param(("product", "category"), "With kind=cross_sell: what is new."),
        **RECURRING_PARAMS,
    },
    formula_text="mrr: recurring revenue per month added by paying customers; cross_sell: first orders of a further product",
    why="Growth with customers one has costs least.",
    misleads="`mrr` is a monthly amount, `cross_sell` is paid once: never add them.",
    source="base measure; ChartMogul (expansion MRR)",
    additivity="A",
    degrades=DEGRADES_FX,
)


def _per_customer(params: Mapping[str, str]) -> Definition:
    uses = {}
    if params["customers"] != "active_in_period":
        at = {"at_end": "end", "average": "average"}[params["customers"]]
        uses = {"customers": Use("active_customers", {**chosen(params, "basis", "lookback_days"), "at": at})}
    if params["revenue"] == "mrr":
        entity = by_customer(*flows(params))
        c, clock = entity.c, InPeriod(entity.c.no)
        measures = {"annual": Measure(entity, clock, sum_(c.annual_end), lacks=c.lacks == 1, label="paying customers")}
        people = Measure(entity, clock, count(c.annual_end > 0), label="paying customers")
    else:
        entity = revenue(*refunds(params))
        c, event = entity.c, At(entity.c.at)
        measures = {"net": _net(entity, event)}
        people = Measure(entity, event, count_distinct(c.account_id, c.is_purchase == 1), label="customers with an order")
    if not uses:
        measures["customers"] = people

    def formula(m: Values) -> Quantity:
        money = m["annual"] * MONTH if "annual" in m else m["net"]
        return money / m["customers"]

    size = lambda m: m["customers"]  # noqa: E731
    return Definition(measures, formula, sample="customers", uses=uses, size=size, optional=(*OPTIONAL, "account_status_history"))


REVENUE_PER_CUSTOMER = Kpi(
    id="revenue_per_customer",
    name="Revenue per customer",
    category="revenue",
    unit="currency",
    better="up",
    define=_per_customer,
    period="year",
    min_sample=10,
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "customers": Param(
            ("active_in_period", "at_end", "average"),
            "Those with an order (of mrr: who pay at the end); or by the basis, at the end or on average.",
        ),
        "revenue": Param(("orders", "mrr"), "Net revenue of the period, or recurring revenue per month at its end (ARPA)."),
        **BASIS_PARAMS,
        **ORDER_PARAMS,
        **RECURRING_PARAMS,
    },
    formula_text="net revenue of the period / distinct customers with an order in it",
    why="Whether growth comes from more customers or from better ones.",
    misleads="A mean: a few large customers make it; look at revenue_concentration beside it.",
    source="turnover of 100 000 / 1 000 customers = 100; ARPA: ChartMogul",
    additivity="R",
    degrades=DEGRADES_FX,
    number=31,
)


def _concentration(params: Mapping[str, str]) -> Definition:
    entity = per_customer(*refunds(params), ever=False, to_parent=params["rollup"] == "parent")
    c, clock = entity.c, InPeriod(entity.c.no)
    lacks = c.lacks == 1
    total = Measure(entity, clock, sum_(c.net), lacks=lacks, label="customers with revenue")
    if params["as"] == "hhi":
        worth = cast(c.net, Double)
        squares = Measure(entity, clock, sum_(worth * worth), lacks=lacks, label="customers with revenue")
        return Definition({"squares": squares, "total": total}, _hhi, sample="total", optional=OPTIONAL)
    largest = Measure(entity, clock, top_sum(int(params["top_n"]), c.net, c.net > 0), lacks=lacks, label="largest customers")
    return Definition({"top": largest, "total": total}, _top, sample="total", optional=OPTIONAL, remarks=_above_all)


def _top(m: Values) -> Quantity:
    return m.top / m.total if (m.total.exact or 0) > 0 else Quantity(None, reason="no revenue")


def _hhi(m: Values) -> Quantity:
    return m.squares / (m.total * m.total) if (m.total.exact or 0) > 0 else Quantity(None, reason="no revenue")


def _above_all(m: Values) -> list[str]:
    above = m.top.exact is not None and (m.total.exact or 0) > 0 and m.top.exact > (m.total.exact or 0)
    return ["above 100 %: other customers were given back more than they paid"] if above else []


REVENUE_CONCENTRATION = Kpi(
    id="revenue_concentration",
    name="Top-customer share",
    category="revenue",
    unit="ratio",
    better="down",
    define=_concentration,
    period="year",
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "top_n": Param.number("10", "How many of the largest customers.", least=1),
        "as": Param(
            ("share", "hhi"), "Their share of all revenue, or the Herfindahl index: the sum of the squares of all shares."
        ),
        "rollup": Param(("account", "parent"), "Each account for itself, or subsidiaries with their parent."),
        **ORDER_PARAMS,
    },
    formula_text="net revenue of the 10 largest customers / net revenue of all",
    why="How dependent the company is on a few.",
    misleads="With fewer than 10 customers it is always 100 %; segments do not add up.",
    source="EasyERP, 7 essential CRM metrics (how dependent on the biggest clients)",
    additivity="N",
    degrades=DEGRADES_FX,
    number=33,
)


def _lifetime(params: Mapping[str, str]) -> Definition:
    if params["method"] == "predictive":
        return _predictive(params)
    entity = per_customer(*refunds(params), ever=True)
    c, clock = entity.c, InPeriod(entity.c.no)
    lacks, bought = c.lacks == 1, c.orders > 0
    if params["method"] == "aov":
        measures = {
            "net": Measure(entity, clock, sum_(c.net, bought), lacks=lacks, label="customers"),
            "orders": Measure(entity, clock, sum_(c.orders, bought), label="orders"),
            "customers": Measure(entity, clock, count(bought), label="customers"),
        }
        return Definition(measures, _order_values, sample="customers", optional=OPTIONAL)
    agg = mean(c.net, bought) if params["stat"] == "mean" else quantile(0.5, c.net, bought)
    value = Measure(entity, clock, agg, lacks=lacks, label="customers")
    return Definition({"value": value}, lambda m: m.value, sample="value", optional=OPTIONAL)


def _order_values(m: Values) -> Quantity:
    """Average order value x orders per customer."""
    return (m.net / m.orders) * (m.orders / m.customers)


def _predictive(params: Mapping[str, str]) -> Definition:
    """Revenue per customer and month x margin / churn per month."""
    is_mrr = params["revenue"] == "mrr"
    basis = chosen(params, "basis", "lookback_days")
    names = ("refund_basis", "rev_date", *RECURRING_PARAMS)
    uses = {
        "arpa": Use("revenue_per_customer", {**basis, **chosen(params, "revenue", *names), "customers": "at_end"}),
        "churn": Use("customer_churn_rate", {**basis, "method": "gross"}),
    }
    margin = Fraction(params["gross_margin"])

    def formula(m: Values) -> Quantity:
        months = months_in(m["days"])
        monthly = m["arpa"] if is_mrr else m["arpa"] / months
        if m["churn"].exact == 0:
            return Quantity(None, reason="no churn observed")
        return monthly * margin / (m["churn"] / months)

    def remarks(m: Values) -> list[str]:
        return ["revenue LTV: no gross margin is given"] if params["gross_margin"] == "1" else []

    optional = (*OPTIONAL, "account_status_history")
    return Definition({"days": DAYS}, formula, sample="churn", uses=uses, remarks=remarks, optional=optional)


CUSTOMER_LIFETIME_VALUE = Kpi(
    id="customer_lifetime_value",
    name="Customer lifetime value",
    category="revenue",
    unit="currency",
    better="up",
    define=_lifetime,
    period="month",
    min_sample=30,
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "method": Param(
            ("historic", "predictive", "aov"), "What customers have paid so far; what they will by churn; order value x orders."
        ),
        "stat": Param(("mean", "median"), "With method=historic: the mean customer, or the one in the middle."),
        "gross_margin": Param.decimal("1", "With method=predictive: what is left of revenue (0.8); 1: all of it.", least=0),
        "revenue": Param(("mrr", "orders"), "With method=predictive: recurring revenue, or orders of the period."),
        **BASIS_PARAMS,
        **ORDER_PARAMS,
        **RECURRING_PARAMS,
    },
    formula_text="historic: net revenue to date per customer with a purchase; predictive: monthly revenue per customer / churn",
    why="What a customer is worth, and so what winning one may cost.",
    misleads="`predictive` divides by a small number: a little less churn doubles it; without churn it is undefined, never 0.",
    source="EasyERP, 7 essential CRM metrics; ChartMogul, Baremetrics",
    additivity="R",
    degrades=DEGRADES_FX,
    number=32,
)


def _growth(params: Mapping[str, str]) -> Definition:
    entity = beside_previous(*refunds(params))
    c, clock = entity.c, InPeriod(entity.c.no)
    now = Measure(entity, clock, sum_(c.net, c.is_now == 1), lacks=c.net_lacks, label="orders")
    before = Measure(entity, clock, sum_(c.net, c.is_now == 0), lacks=c.net_lacks, label="revenue before")
    return Definition({"now": now, "before": before}, _change, optional=OPTIONAL)


def _change(m: Values) -> Quantity:
    return (m.now - m.before) / m.before if (m.before.exact or 0) > 0 else Quantity(None, reason="no revenue before")


REVENUE_GROWTH = Kpi(
    id="revenue_growth",
    name="Revenue growth",
    category="revenue",
    unit="ratio",
    better="up",
    define=_growth,
    dimensions=ORDER_DIMENSIONS,
    params=ORDER_PARAMS,
    formula_text="(net revenue - that of the span of equal length just before) / the latter",
    why="The direction of the business in one number.",
    misleads="Spans of equal length are not always equal: a February is compared with 28 days of January.",
    source="own",
    additivity="N",
    degrades=DEGRADES_FX,
)

KPIS = (
    NET_REVENUE, EXPANSION_REVENUE, REVENUE_PER_CUSTOMER, REVENUE_CONCENTRATION, CUSTOMER_LIFETIME_VALUE, REVENUE_GROWTH,
)  # fmt: skip
__all__ = ["KPIS", "moved_by", "movement"]
