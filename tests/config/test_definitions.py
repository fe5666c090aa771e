"""KPIs and custom fields in YAML: which keys there are, for the loader and for editors; where a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kpid.config.load import Loaded, load_config
from kpid.config.position import mistake_at
from kpid.config.problems import ConfigErrors, raise_errors
from kpid.config.schema import config_schema
from kpid.errors import ConfigError
from kpid.registry import load_plugins
from tests.config.test_schema import TOYS, fits

GOOD = """
timezone: Europe/Berlin
fields:
  deals.tier: {from: extra.tier, type: text, dimension: true}
  accounts.band: {from: extra.arr_band, dimension: arr_band, through: [account_id]}
kpis:
  toy_rate: {target: 25%, params: {mode: plain}}
  mine:
    name: Mine
    unit: ratio
    better: up
    period: quarter
    min_sample: 20
    target: 0.4
    dimensions: [owner, tier]
    measures:
      won: {entity: deals, at: closed_at, count: "", where: "state = 'won'", label: won deals}
      all: {entity: deals, at: closed_at, count: null}
      size: {entity: deals, at: closed_at, quantile: {q: 0.9, of: amount}, money: currency, rate_at: closed_at}
      open: {entity: deals, balance: [created_at, closed_at], still: state = 'open'}
      now: {entity: deals, now: true, count: true}
    formula: won / all
    sample: all
    why: Because.
    misleads: Sometimes.
    settle: 72h
  theirs: {unit: count, sql: select closed_at as at from deals, columns: {at: instant}, measures: {n: {at: at}}}
  both: {unit: ratio, formula: (mine + toy_rate) / 2}
"""
WRONG = [
    ("unit: ratio\n    better", "unit: percent\n    better"),
    ("better: up", "better: more"),
    ("min_sample: 20", "min_sample: -1"),
    ("entity: deals, at: closed_at, count: \"\"", "entitty: deals, at: closed_at"),
    ("now: true", "now: false"),
    ("[created_at, closed_at]", "[created_at]"),
    ("{q: 0.9, of: amount}", "{q: 0.9}"),
    ("at: instant", "at: timestamp"),
    ("type: text", "type: varchar"),
    ("deals.tier:", "tier:"),
]  # fmt: skip


def load(folder: Path, text: str) -> Loaded:
    file = folder / "kpid.yml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


@pytest.fixture(scope="module")
def schema():
    return config_schema(load_plugins(plugins_dir=TOYS))


def test_definitions_load_and_fit_the_schema(tmp_path, schema):
    config = load(tmp_path, GOOD).config
    assert [name for name, kpi in config.kpis.items() if kpi.is_definition] == ["mine", "theirs", "both"]
    measures = config.kpis["mine"].measures
    assert [(one.clock, one.aggregate) for one in measures.values()] == [
        ("at", "count"), ("at", "count"), ("at", "quantile"), ("balance", "count"), ("now", "count"),
    ]  # fmt: skip
    assert config.fields["accounts.band"].through == ("account_id",)
    assert fits(yaml.safe_load(GOOD), schema, schema)


@pytest.mark.parametrize(("old", "new"), WRONG)
def test_wrong_definitions_are_refused_and_do_not_fit_the_schema(tmp_path, schema, old, new):
    assert old in GOOD
    text = GOOD.replace(old, new)
    with pytest.raises(ConfigError):
        load(tmp_path, text)
    if "deals.tier" not in old:  # names are checked by the loader alone
        assert not fits(yaml.safe_load(text), schema, schema)


WAYS = [
    ("kpis: {x: {unit: count, formula: a +++ b}}", "a +++ b", 37),
    ("kpis: {x: {unit: count, formula: 'a ''x'' ++ b'}}", "a 'x' ++ b", 44),
    ('kpis: {x: {unit: count, formula: "a \\"x\\" ++ b"}}', 'a "x" ++ b', 44),
    ("kpis: {x: {unit: count, why: a ++ b, formula: a ++ b}}", "a ++ b", 50),
]


@pytest.mark.parametrize(("text", "value", "column"), WAYS)
def test_place_of_a_mistake_is_the_column_in_the_file(tmp_path, text, value, column):
    loaded = load(tmp_path, f"timezone: UTC\n{text}\n")
    start = value.index("++") + 1
    error = mistake_at(loaded, ("kpis", "x", "formula"), value, ConfigError("no"), start, start + 1)
    assert error.where == f"{tmp_path / 'kpid.yml'}:2:{column}"
    shown, mark = str(error.hint).splitlines()[1:]
    assert shown.strip() == value
    assert mark.index("^") == shown.index("++") + 1


def test_place_in_a_block_is_the_line_in_the_file(tmp_path):
    text = "timezone: UTC\nkpis:\n  x:\n    unit: count\n    formula: |\n      a\n      + b\n      ++ c\n"
    loaded = load(tmp_path, text)
    value = loaded.config.kpis["x"].formula
    start = value.index("++")
    error = mistake_at(loaded, ("kpis", "x", "formula"), value, ConfigError("no", hint="Do"), start, start + 2)
    assert error.where.endswith("kpid.yml:8:7")
    assert error.hint == "Do\n    ++ c\n    ^^"


def test_text_written_in_another_way_has_a_line_only(tmp_path):
    loaded = load(tmp_path, 'timezone: UTC\nkpis:\n  x: {unit: count, formula: "a\\x20++ b"}\n')
    value = loaded.config.kpis["x"].formula
    assert mistake_at(loaded, ("kpis", "x", "formula"), value, ConfigError("no"), 2, 4).where.endswith("kpid.yml:3")


def test_long_line_is_cut_round_the_mistake(tmp_path):
    value = "a + " * 100 + "? + b"
    loaded = load(tmp_path, f"timezone: UTC\nkpis: {{x: {{unit: count, formula: '{value}'}}}}\n")
    start = value.index("?")
    _, shown, mark = str(
        mistake_at(loaded, ("kpis", "x", "formula"), value, ConfigError("no"), start, start + 1).hint
    ).splitlines()
    assert len(shown) <= 104
    assert shown[mark.index("^")] == "?"


def test_secret_in_an_expression_is_starred(tmp_path):
    file = tmp_path / "kpid.yml"
    file.write_text("timezone: UTC\nkpis: {x: {unit: count, formula: '${file:token} ++'}}\n", encoding="utf-8")
    (tmp_path / "token").write_text("hunter2hunter2", encoding="utf-8")
    loaded = load_config(file)
    error = mistake_at(loaded, ("kpis", "x", "formula"), "hunter2hunter2 ++", ConfigError("hunter2hunter2?"), 15, 17)
    assert "hunter2" not in str(error)


def test_mistakes_are_told_in_the_order_of_lines_and_columns():
    errors = [
        ConfigError(name, where=where)
        for name, where in (("d", "k.yml:12:40"), ("b", "k.yml:9"), ("c", "k.yml:12:7"), ("a", "a.yml"))
    ]
    with pytest.raises(ConfigErrors) as caught:
        raise_errors(errors)
    assert [line.rpartition(" ")[2] for line in str(caught.value).splitlines()] == ["a", "b", "c", "d"]
