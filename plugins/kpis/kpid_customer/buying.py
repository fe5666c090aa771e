"""KPIs of who buys again, more, and something else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import and_, func, select
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import At, Definition, InPeriod, Kpi, Measure, Param, Quantity, count, count_distinct, described

from .orders import OPTIONAL, RANKED, bought_again, buyers, sold
from .population import BASIS_PARAMS, DEGRADES, DIMENSIONS, customer_definition, population, spans_of


@lru_cache
def _with(spans: tuple[str, int, str], facts: FromClause) -> Subquery:
    """Customers at the start of a period, with what is known of them for the same period."""
    people = population(*spans)
    c = people.c
    joined = people.outerjoin(facts, and_(facts.c.no == c.no, facts.c.account_id == c.account_id))
    known = [func.coalesce(fact, 0).label(fact.key) for fact in facts.c if fact.key not in ("no", "account_id")]
    return select(*c, *known).select_from(joined).where(c.at_start == 1).subquery("customers_with_facts")


def _repurchase(params: Mapping[str, str]) -> Definition:
    entity = _with(spans_of(params), bought_again())
    measures = {
        "start": (entity.c.at_start == 1, "customers at the start"),
        "again": (entity.c.orders > 0, "customers who bought again"),
    }
    return customer_definition(
        params, entity, measures, lambda m: m.again / m.start, sample="start", required=("orders",)
    )  # fmt: skip


REPURCHASE_RATE = Kpi(
    id="repurchase_rate",
    name="Repurchase retention",
    category="customer",
    unit="ratio",
    better="up",
    define=_repurchase,
    period="year",
    min_sample=30,
    dimensions=DIMENSIONS,
    params=BASIS_PARAMS,
    formula_text="customers at the start who bought in the period / customers at the start",
    why="Loyalty where nobody signs a contract: they come back to buy.",
    misleads="Depends on how often one needs the thing; wholly refunded and cancelled orders are no purchases.",
    source="80 of 100 customers bought again within the year = 80 %",
    additivity="C",
    degrades=DEGRADES,
    number=26,
)


@lru_cache
def _buyers(days: int | None, by_day: bool) -> Subquery:
    return described(buyers(days, by_day), "described_buyers")


def _loyal(params: Mapping[str, str]) -> Definition:
    entity = _buyers(int(params["lookback_days"]) if params["window"] == "rolling" else None, params["dedupe"] == "day")
    clock = InPeriod(entity.c.no)
    often = entity.c.orders >= int(params["min_purchases"])
    loyal = Measure(entity, clock, count(~often if params["complement"] == "true" else often), label="such customers")
    if params["as"] == "count":
        return Definition({"loyal": loyal}, lambda m: m.loyal, unit="count", optional=OPTIONAL)
    everybody = Measure(entity, clock, count(), label="customers with a purchase")
    return Definition({"loyal": loyal, "all": everybody}, lambda m: m.loyal / m["all"], sample="all", optional=OPTIONAL)


LOYAL_CUSTOMER_SHARE = Kpi(
    id="loyal_customer_share",
    name="Loyal customers",
    category="customer",
    unit="ratio",
    better="up",
    define=_loyal,
    period="month",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "min_purchases": Param.number("3", "How many purchases make a customer loyal; 2: the repeat purchase rate.", least=1),
        "as": Param(("ratio", "count"), "The share, or how many customers."),
        "complement": Param(("false", "true"), "The others: those with fewer purchases."),
        "window": Param(("lifetime", "rolling"), "All purchases up to the period's end, or those of the last days."),
        "lookback_days": Param.number("365", "With window=rolling: how many days.", least=1),
        "dedupe": Param(("none", "day"), "`day`: several orders on one local day are one purchase."),
    },
    formula_text="customers with at least 3 purchases up to the period's end / customers with a purchase",
    why="Who comes back again and again carries the business.",
    misleads="It falls when many new customers arrive, though nobody has left.",
    source="Pégase: customers who bought more than twice",
    additivity="S",
    degrades={"merges": DEGRADES["merges"]},
    number=27,
)


@lru_cache
def _sold_to(spans: tuple[str, int, str], level: str) -> Subquery:
    """What customers of a period's start bought in it."""
    people, things = population(*spans), sold(level)
    c, s = people.c, things.c
    joined = people.join(things, and_(s.no == c.no, s.account_id == c.account_id))
    return (
        select(*(column for column in c if column.key != "product"), s.product, s.is_new, s.is_more)
        .select_from(joined)
        .where(c.at_start == 1)
        .subquery("sold_to")
    )


def _cross_sell(params: Mapping[str, str]) -> Definition:
    people, bought = population(*spans_of(params)), _sold_to(spans_of(params), params["level"])
    is_cross = params["kind"] == "cross_sell"
    buyers = count_distinct(bought.c.account_id, (bought.c.is_new if is_cross else bought.c.is_more) == 1)
    clock = InPeriod(people.c.no)
    start = Measure(people, clock, count(people.c.at_start == 1), label="customers at the start", across=("product",))
    return customer_definition(
        params,
        people,
        {},
        lambda m: m.bought / m.start,
        also={"start": start, "bought": Measure(bought, InPeriod(bought.c.no), buyers, label="customers who bought more")},
        sample="start",
        required=("orders", "order_lines") if is_cross else (),
        across=("product",),
    )


CROSS_SELL_RATE = Kpi(
    id="cross_sell_rate",
    name="Cross-sell",
    category="customer",
    unit="ratio",
    better="up",
    define=_cross_sell,
    period="quarter",
    min_sample=30,
    dimensions=(*DIMENSIONS, "product"),
    params={
        "kind": Param(("cross_sell", "upsell"), "Something new to the customer, or more of what it has."),
        "level": Param(("product", "category"), "What is new: a product, or a category of products."),
        **BASIS_PARAMS,
    },
    formula_text="customers at the start who bought a product that is new to them in the period / customers at the start",
    why="Growth with those who trust us already.",
    misleads="`upsell` compares with the largest purchase or plan so far: a customer who returns to an old height is none.",
    source="EasyERP, 7 essential CRM metrics (success of cross-selling and up-selling)",
    additivity="C",
    degrades=DEGRADES,
    number=29,
)


def _repeat(params: Mapping[str, str]) -> Definition:
    c, clock = RANKED.c, At(RANKED.c.ordered_at)
    repeat = Measure(RANKED, clock, count(c.ordered_at > c.first_at), label="repeat orders")
    return Definition(
        {"repeat": repeat, "all": Measure(RANKED, clock, count(), label="orders")}, _share, sample="all", optional=OPTIONAL
    )


def _share(m: Mapping[str, Quantity]) -> Quantity:
    return m["repeat"] / m["all"]


REPEAT_ORDER_SHARE = Kpi(
    id="repeat_order_share",
    name="Repeat orders",
    category="customer",
    unit="ratio",
    better="up",
    define=_repeat({}),
    period="month",
    min_sample=30,
    dimensions=(
        "owner",
        "team",
        "region",
        "segment",
        "industry",
        "size_band",
        "country",
        "account",
        "currency",
        "source",
        "week_of_quarter",
    ),
    formula_text="orders of customers with an earlier order / orders; cancelled and wholly refunded ones left out",
    why="How much of the business comes back by itself, and when: by week of the quarter.",
    misleads="High where few new customers are won; the first orders after a change of system all look new.",
    source="EasyERP, 7 essential CRM metrics (repeat orders, many in the first week of the quarter)",
    additivity="R",
    degrades={"merges": DEGRADES["merges"]},
    number=30,
)

KPIS = (REPURCHASE_RATE, LOYAL_CUSTOMER_SHARE, CROSS_SELL_RATE, REPEAT_ORDER_SHARE)
