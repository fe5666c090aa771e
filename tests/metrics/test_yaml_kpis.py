"""KPIs written in YAML: the same numbers as the plugins', custom fields as columns and dimensions, nothing but reading."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar
from kpid.config.load import load_config
from kpid.errors import ConfigError
from kpid.metrics.measure import MetricsSetup, figures, refresh
from kpid.metrics.results import tables_of
from kpid.metrics.written import with_own_kpis
from kpid.model import MeasurementState, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.registry import Plugins
from kpid.store.engine import open_store
from kpid.testing.kpis import open_warehouse
from tests.effort import on_worlds
from tests.metrics import naive

CALENDAR = Calendar("Europe/Berlin")
START, END = (CALENDAR.midnight(day) for day in (naive.date(2017, 9, 1), naive.date(2018, 2, 1)))
NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)

TWINS = """
kpis:
  my_win_rate:
    unit: ratio
    measures:
      won:    {entity: deals, at: closed_at, count: "", where: "state = 'won'", label: won deals}
      closed: {entity: deals, at: closed_at, where: "state in ('won', 'lost')", label: closed deals}
    formula: "won / closed"
    sample: closed
    min_sample: 30
  my_win_rate_by_amount:
    unit: ratio
    measures:
      won:    {entity: deals, at: closed_at, sum: amount, money: currency, where: "state = 'won'", label: amount of won deals}
      all:    {entity: deals, at: closed_at, sum: amount, money: currency, where: "state = 'won' or state = 'lost'",
               label: amount of closed deals}
      closed: {entity: deals, at: closed_at, where: "not (state <> 'won' and state <> 'lost')", label: closed deals}
    formula: "won / all"
    sample: closed
    min_sample: 30
  my_deal_size:
    unit: currency
    measures:
      size: {entity: deals, at: closed_at, mean: amount, money: currency, where: "state = 'won'", label: won deals with an amount}
    min_sample: 10
    sample: size
  my_median_deal_size:
    unit: currency
    measures:
      size: {entity: deals, at: closed_at, quantile: {q: 0.5, of: amount}, money: currency, where: "state = 'won'",
             label: won deals with an amount}
    min_sample: 10
    sample: size
  my_pipeline:
    unit: currency
    measures:
      open: {entity: deals, balance: [created_at, closed_at], sum: amount, money: currency,
             rate_at: [expected_close_date, as_of], label: open deals}
  my_calls_per_sale:
    unit: count
    measures:
      calls: {entity: activities, at: occurred_at, label: calls,
              where: "type = 'call' and coalesce(status, 'completed') = 'completed' and direction = 'outbound'"}
      won: {entity: deals, at: closed_at, where: "state = 'won'", label: won deals}
    formula: calls / won
    sample: won
    min_sample: 10
  my_half_rate:
    unit: ratio
    formula: "(my_win_rate + win_rate(weight=amount)) / 2"
"""
PAIRS = [
    ("my_win_rate", "win_rate", {}),
    ("my_win_rate_by_amount", "win_rate", {"weight": "amount"}),
    ("my_deal_size", "avg_deal_size", {}),
    ("my_median_deal_size", "avg_deal_size", {"stat": "median"}),
    ("my_pipeline", "pipeline_open_amount", {}),
    ("my_calls_per_sale", "calls_per_sale", {}),
]
FIELDS = """
fields:
  deals.tier: {from: extra.tier, dimension: true}
  deals.seats: {from: extra.seats, type: number}
  deals.renewal: {from: extra.renewal, type: boolean}
  deals.signed_on: {from: extra.signed, type: date}
  deals.started_at: {from: extra.started, type: instant}
  accounts.band: {from: extra.arr_band, dimension: arr_band}
"""


def plugins_of(kpis: dict[str, Kpi], folder, text: str) -> Plugins:
    file = folder / "kpid.yml"
    file.write_text(f"timezone: Europe/Berlin\n{text}", encoding="utf-8")
    return with_own_kpis(Plugins(kpis=kpis), load_config(file))


def setup_of(plugins: Plugins, warehouse) -> MetricsSetup:
    return MetricsSetup(warehouse, plugins.kpis, CALENDAR, "EUR", custom=plugins.dimensions)


def told(one):
    """The figure: a plugin may have more to remark on it."""
    return (
        one.period,
        one.dims,
        one.state,
        one.value,
        one.n,
        one.numerator,
        one.denominator,
        one.currency,
        one.as_of,
        one.low,
        one.high,
    )


def compare(setup: MetricsSetup, mine: str, theirs: str, params, kind: str, by: tuple[str, ...], fx: str) -> int:
    needs = (
        SeriesNeed(mine, kind, by, (("missing_fx", fx),) if "missing_fx" in setup.kpis[mine].params else ()),
        SeriesNeed(theirs, kind, by, tuple(sorted(params.items())) + ((("missing_fx", fx),) if fx != "error" else ())),
    )
    own, plugin = (figures(need, setup, start=START, end=END, now=naive.NOW, fill=not by) for need in needs)
    assert [told(one) for one in own] == [told(one) for one in plugin], (mine, kind, by)
    return sum(one.value is not None for one in own)


@given(st.integers(0, 10**9))
@on_worlds(2, 8)
def test_twins_in_yaml_give_the_numbers_of_the_plugins(kpis, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("twins")
    plugins = plugins_of(kpis, folder, TWINS)
    warehouse = open_warehouse(folder, naive.random_rows(seed), now=naive.NOW)
    setup, seen = setup_of(plugins, warehouse), 0
    try:
        for mine, theirs, params in PAIRS:
            for kind, by in (("month", ()), ("quarter", ("owner",)), ("month", ("region", "segment")), ("week", ("team",))):
                fx = "exclude" if "missing_fx" in kpis[theirs].params and kind == "month" else "error"
                seen += compare(setup, mine, theirs, params, kind, by, fx)
        assert seen
    finally:
        warehouse.close()


def test_formula_over_other_kpis_takes_their_results(kpis, tmp_path):
    plugins = plugins_of(kpis, tmp_path, TWINS)
    warehouse = open_warehouse(tmp_path, naive.random_rows(7), now=naive.NOW)
    setup = setup_of(plugins, warehouse)

    def values(name, **params):
        need = SeriesNeed(name, "quarter", ("region",), tuple(sorted({"missing_fx": "exclude", **params}.items())))
        need = need if "missing_fx" in setup.kpis[name].params else replace(need, params=())
        return {(one.period.label, one.dims): one for one in figures(need, setup, start=START, end=END, now=naive.NOW)}

    half, count, amount = values("my_half_rate"), values("my_win_rate"), values("win_rate", weight="amount")
    warehouse.close()
    known = [key for key, one in half.items() if one.value is not None]
    assert known
    for key in known:
        assert abs(half[key].value - (count[key].value + amount[key].value) / 2) < Decimal("1e-20")


def deals(extras, **more):
    base = {"state": "won", "amount": Decimal(100), "currency": "EUR", "closed_at": datetime(2017, 12, 5, tzinfo=UTC)}
    rows = [
        {"id": str(number), **base, "extra": None if extra is None else json.dumps(extra)} for number, extra in enumerate(extras)
    ]
    return {"deals": [{**row, **more} for row in rows]}


def december(kpis, folder, text, rows, name="mine", by=(), gone=(), **need):
    plugins = plugins_of(kpis, folder, text)
    warehouse = open_warehouse(folder, rows, now=NOW)
    try:
        with warehouse.batch() as batch:
            batch.tombstone("deals", [(id_, NOW, "deleted", None) for id_ in gone])
        wanted = SeriesNeed(name, "month", by, **need)
        start, end = CALENDAR.midnight(naive.date(2017, 12, 1)), CALENDAR.midnight(naive.date(2018, 1, 1))
        return figures(wanted, setup_of(plugins, warehouse), start=start, end=end, now=NOW, fill=not by)
    finally:
        warehouse.close()


def test_how_many_times_one_thing_is_another_is_a_unit_of_its_own(kpis, tmp_path):
    body = "kpis: {mine: {unit: times, formula: won_deals / lost_deals}}"
    rows = deals([{}, {}, {}])["deals"] + [{**deals([{}])["deals"][0], "id": "lost", "state": "lost"}]
    plugins = plugins_of(kpis, tmp_path, body)
    warehouse = open_warehouse(tmp_path, {"deals": rows}, now=NOW)
    made = figures(SeriesNeed("mine", "month", ()), setup_of(plugins, warehouse), start=START, end=END, now=NOW)
    warehouse.close()
    [found] = [one for one in made if one.value is not None]
    assert (plugins.kpis["mine"].unit, found.value, found.low) == ("times", 3, None)
    with pytest.raises(ConfigError, match="the unit is to be times, but the formula divides nothing"):
        plugins_of(kpis, tmp_path, "kpis: {mine: {unit: times, formula: won_deals}}")


def value_of(kpis, folder, measure, rows, unit="count"):
    text = f"{FIELDS}kpis:\n  mine: {{unit: {unit}, measures: {{m: {{entity: deals, at: closed_at, {measure}}}}}}}\n"
    [found] = december(kpis, folder, text, rows)
    return found.value


def test_custom_number_is_a_number_and_text_in_it_is_no_value(kpis, tmp_path):
    seats = [5, "7.5", " +3 ", "many", "1e400", "0x10", "", [1], "9" * 40, None, "1,000", "NaN"]
    extras = [*({"seats": one} for one in seats), {}, None]
    assert value_of(kpis, tmp_path, "sum: seats", deals(extras)) == Decimal("15.5")
    assert value_of(kpis, tmp_path, "count: seats", deals(extras)) == 3
    assert value_of(kpis, tmp_path, 'where: "extra.seats > 4"', deals(extras)) == 2
    assert value_of(kpis, tmp_path, 'where: "seats / 0.5 between 6 and 15"', deals(extras)) == 3
    assert value_of(kpis, tmp_path, 'where: "seats is null"', deals(extras)) == 11
    assert value_of(kpis, tmp_path, 'mean: "round(seats * 2)"', deals(extras)) == Decimal(31) / 3
    assert value_of(kpis, tmp_path, 'sum: "seats / (seats - 5)"', deals(extras)) == Decimal("1.5")


def test_custom_truth_values_dates_and_instants(kpis, tmp_path):
    flags = [{"renewal": True}, {"renewal": "Yes"}, {"renewal": 0}, {"renewal": "perhaps"}, {}]
    assert value_of(kpis, tmp_path, "where: renewal", deals(flags)) == 2
    assert value_of(kpis, tmp_path, 'where: "renewal = false"', deals(flags)) == 1
    days = [
        {"signed": "2017-11-30"},
        {"signed": "2017-12-01T10:00:00Z"},
        {"signed": "2017-02-30"},
        {"signed": "soon"},
        {"signed": 5},
    ]
    assert value_of(kpis, tmp_path, "where: \"signed_on >= date '2017-11-30'\"", deals(days)) == 2
    assert value_of(kpis, tmp_path, 'sum: "days_between(signed_on, closed_at)"', deals(days), "days") == 9
    moments = [{"started": "2017-12-04T23:30:00Z"}, {"started": "2017-12-05T00:30:00+01:00"}, {"started": "2017-12-05 00:30"},
               {"started": "2017-12-05"}, {"started": "2017-12-04T25:00:00Z"}, {"started": "2017-02-30T10:00:00Z"}]  # fmt: skip
    assert value_of(kpis, tmp_path, "where: \"local_date(started_at) = date '2017-12-05'\"", deals(moments)) == 4
    seconds = value_of(kpis, tmp_path, 'max: "seconds_between(started_at, closed_at)"', deals(moments), "seconds")
    assert seconds == 3600  # from local midnight to 1:00


def test_date_compared_with_an_instant_is_the_local_day(kpis, tmp_path):
    rows = deals([None], closed_at=datetime(2017, 12, 30, 23, 30, tzinfo=UTC))
    assert value_of(kpis, tmp_path, "where: \"closed_at = date '2017-12-31'\"", rows) == 1
    assert value_of(kpis, tmp_path, "where: \"closed_at < instant '2017-12-31T00:00:00Z'\"", rows) == 1


def test_custom_fields_cut_own_and_installed_kpis(kpis, tmp_path):
    rows = deals([{"tier": "gold"}, {"tier": "gold"}, {"tier": "silver"}, {}], account_id="acme")
    rows["accounts"] = [{"id": "acme", "name": "Acme Example", "extra": json.dumps({"arr_band": "1m+"})}]
    for name, text in (("won_deals", FIELDS), ("mine", FIELDS + "kpis: {mine: {unit: count, formula: won_deals}}")):
        found = december(kpis, tmp_path, text, rows, name, ("tier",))
        assert {one.dims[0].id: one.value for one in found} == {"gold": 2, "silver": 1, None: 1}
        [band] = december(kpis, tmp_path, text, rows, name, ("arr_band",))
        assert (band.dims[0].id, band.value) == ("1m+", 4)
        [gold] = december(kpis, tmp_path, text, rows, name, where=(("tier", ("gold",)),))
        assert gold.value == 2


def test_field_is_looked_up_through_the_columns_that_are_named(kpis, tmp_path):
    rows = deals([{}], primary_contact_id="carl", account_id="acme")
    rows["contacts"] = [{"id": "carl", "extra": json.dumps({"role": "buyer"})}]
    rows["leads"] = [{"id": "l", "created_at": datetime(2017, 12, 5, tzinfo=UTC), "converted_contact_id": "carl"}]
    for through, cut in (("primary_contact_id", True), ("deals.primary_contact_id", True), ("leads.converted_contact_id", False)):
        text = f"fields: {{contacts.function: {{from: extra.role, dimension: true, through: [{through}]}}}}"
        assert ("function" in plugins_of(kpis, tmp_path, text).kpis["won_deals"].dimensions) is cut
        if cut:
            [found] = december(kpis, tmp_path, text, rows, "won_deals", ("function",))
            assert (found.dims[0].id, found.value) == ("buyer", 1)
    with pytest.raises(ConfigError, match="no table has a column 'deals"):
        plugins_of(kpis, tmp_path, "fields: {contacts.function: {from: extra.role, through: deals.primary_contakt_id}}")


def test_changed_field_or_formula_is_measured_again(kpis, tmp_path):
    rows = deals([{"tier": "gold", "level": "low"}])
    warehouse, store = open_warehouse(tmp_path, rows, now=NOW), open_store(f"sqlite:///{tmp_path / 'state.db'}")
    text = "fields:\n  deals.tier: {from: extra.%s, dimension: true}\nkpis: {mine: {unit: count, formula: won_deals * %s}}"
    need = SeriesNeed("mine", "month", ("tier",), periods=1)
    appended = []
    for key, factor in (("tier", 1), ("tier", 1), ("level", 1), ("level", 2)):
        setup = setup_of(plugins_of(kpis, tmp_path, text % (key, factor)), warehouse)
        found = refresh([need], setup, store=store, now=NOW)
        assert not found.problems
        appended.append(found.appended)
    warehouse.close()
    store.close()
    assert appended[0] > 0
    assert appended[1] == 0
    assert appended[2] > 0
    assert appended[3] > 0


SQL = """
kpis:
  mine:
    unit: count
    sql: |
      with big as (select id, owner_id, closed_at, amount from deals d where amount >= 50 and d.state = 'won')
      select closed_at as at, owner_id, amount, 1 as won -- one per deal; 'as it were'
      from big where not exists (select 1 from activities a where a.deal_id = big.id) and 'a:b' <> ':at' and '100%' like '1%'
    columns: {at: instant, owner_id: text, amount: number, won: number}
    measures:
      won: {at: at, sum: won, where: amount < 1000, label: big deals}
"""


def test_sql_sees_living_rows_only_and_is_cut_like_any_entity(kpis, tmp_path):
    rows = deals([None] * 5, owner_id="ada")
    rows["deals"][1]["is_test"] = True
    rows["deals"][3]["amount"] = Decimal(20)
    rows["users"] = [{"id": "ada", "name": "Ada Example", "team": "North"}]
    rows["activities"] = [{"id": "1", "deal_id": "4"}]
    [found] = december(kpis, tmp_path, SQL, rows, gone=["crm:2"])
    assert (found.value, found.state) == (1, MeasurementState.OK)
    [cut] = december(kpis, tmp_path, SQL, rows, by=("team",), gone=["crm:2"])
    assert (cut.dims[0].id, cut.value) == ("North", 1)


def test_sql_is_stale_with_the_tables_that_it_names(kpis, tmp_path):
    kpi = plugins_of(kpis, tmp_path, SQL).kpis["mine"]
    assert tables_of(kpi.definition({}).measures["won"].entity) == ("activities", "deals")


HOSTILE = [
    "won'; drop table deals; --",
    "' or '1'='1",
    "%(x)s",
    "?",
    "$1",
    ":at",
    "\\",
    "won\\' or 1=1 --",
    "a;b",
    '"',
    "é—✓",
    "{}",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_never_become_sql(kpis, tmp_path, value):
    rows = deals([{"tier": value}, {"tier": "won"}], loss_reason=value)
    quoted = json.dumps(f"extra.tier = '{value.replace(chr(39), chr(39) * 2)}' and loss_reason like '%'")
    assert value_of(kpis, tmp_path, f"where: {quoted}", rows) == 1
    [cut] = [one for one in december(kpis, tmp_path, FIELDS, rows, "won_deals", ("tier",)) if one.dims[0].id == value]
    assert cut.value == 1


@pytest.mark.parametrize("key", ["%(x)s", "__[POSTCOMPILE_x]", "\x00", "a" * 300])
def test_keys_that_mean_something_else_are_refused(kpis, tmp_path, key):
    condition = json.dumps(f"extra.\"{key}\" = 'gold'")
    body = f"mine: {{unit: count, measures: {{m: {{entity: deals, at: closed_at, where: {condition}}}}}}}"
    with pytest.raises(ConfigError):
        plugins_of(kpis, tmp_path, f"kpis: {{{body}}}")
    with pytest.raises(ConfigError):
        plugins_of(kpis, tmp_path, f"fields: {{deals.tier: {{from: {json.dumps('extra.' + key)}}}}}")


@pytest.mark.parametrize("key", ["a'b", 'a"b', "$.x", "a.b", "key;--", "?", ":x", "%s", "ä", "a b"])
def test_keys_of_custom_fields_never_become_sql(kpis, tmp_path, key):
    rows = deals([{key: "gold"}, {"x": "gold"}])
    name = key.replace('"', '""')
    assert value_of(kpis, tmp_path, "where: " + json.dumps(f"extra.\"{name}\" = 'gold'"), rows) == 1


PIECES = """state amount closed_at extra.tier extra.seats seats is_test as_of 'won' 5 0 0.5 null true date '2017-01-01' ( ) , and
or not = <> < >= + - * / in between is like coalesce( lower( abs( days_between( round( local_date( nullif( drop ; -- name"""
WORDS = st.sampled_from(PIECES.split())


@given(st.one_of(st.lists(WORDS, max_size=14).map(" ".join), st.text(max_size=30)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_a_condition_that_runs_or_is_refused(kpis, fuzzed, text):
    folder, warehouse = fuzzed
    body = json.dumps({"mine": {"unit": "count", "measures": {"m": {"entity": "deals", "at": "closed_at", "where": text}}}})
    try:
        plugins = plugins_of(kpis, folder, f"{FIELDS}kpis: {body}\n")
    except ConfigError:
        return
    found = figures(SeriesNeed("mine", "month"), setup_of(plugins, warehouse), start=START, end=END, now=NOW, fill=True)
    assert all(one.state is not MeasurementState.ERROR for one in found)


FORMULA_PIECES = (
    "won lost size win_rate win_rate( won_deals weight=amount weight=x ( ) ) + - * / / 0 1 2.5 , = 'x' null nps extra.tier mine"
)
FORMULAS = st.lists(st.sampled_from(FORMULA_PIECES.split()), max_size=9).map(" ".join)


@given(st.one_of(FORMULAS, FORMULAS, st.text(max_size=30)), st.sampled_from(["count", "ratio", "currency", "days", "score"]))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_a_formula_that_runs_or_is_refused(kpis, fuzzed, text, unit):
    folder, warehouse = fuzzed
    won = {"entity": "deals", "at": "closed_at", "where": "state = 'won'"}
    size = {"entity": "deals", "at": "closed_at", "sum": "amount", "money": "currency"}
    measures = {"won": won, "lost": {**won, "where": "state = 'lost'"}, "size": size}
    body = json.dumps({"mine": {"unit": unit, "measures": measures, "formula": text}})
    try:
        plugins = plugins_of(kpis, folder, f"kpis: {body}\n")
    except ConfigError:
        return
    found = figures(SeriesNeed("mine", "month"), setup_of(plugins, warehouse), start=START, end=END, now=NOW, fill=True)
    assert all(one.state is not MeasurementState.ERROR for one in found)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    warehouse = open_warehouse(folder, deals([{"tier": "gold", "seats": "x"}, {"seats": 5}, None]), now=NOW)
    yield folder, warehouse
    warehouse.close()
