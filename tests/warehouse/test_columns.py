"""Expressions of mapped columns, written for each engine; nothing in them can become a statement of its own."""

from __future__ import annotations

import pytest

from kpid.analysis.language import Mistake
from kpid.config.tables import expression
from kpid.warehouse.columns import GRAMMARS, columns_in, written

CASES = {
    "amount": ('"amount"', "`amount`", "`amount`"),
    '"Close Date"': ('"Close Date"', "`Close Date`", "`Close Date`"),
    "props.amount": ('"props"."amount"', "`props`.`amount`", "`props`.`amount`"),
    "'EUR'": ("'EUR'", "'EUR'", "'EUR'"),
    "'it''s'": ("'it''s'", r"'it\'s'", r"'it\'s'"),
    "true": ("true", "true", "true"),
    "null": ("NULL", "NULL", "NULL"),
    "1.50": ("1.50", "1.50", "1.50"),
    "number(a)": ('CAST("a" AS DECIMAL(20, 6))', "CAST(`a` AS DECIMAL(20, 6))", "CAST(`a` AS Nullable(Decimal(20, 6)))"),
    "instant(a)": ('CAST("a" AS TIMESTAMPTZ)', "CAST(`a` AS TIMESTAMP)", "CAST(`a` AS Nullable(DateTime64(6, 'UTC')))"),
    "date '2026-01-31'": ("CAST('2026-01-31' AS DATE)", "CAST('2026-01-31' AS DATE)", "CAST('2026-01-31' AS Nullable(Date32))"),
    "concat('x:', a)": (
        "(CAST('x:' AS VARCHAR) || CAST(\"a\" AS VARCHAR))",
        "(CAST('x:' AS STRING) || CAST(`a` AS STRING))",
        "(CAST('x:' AS Nullable(String)) || CAST(`a` AS Nullable(String)))",
    ),
    "if(stage in ('Won', 'Paid') and not lost, 'won', lower(stage))": (
        """(CASE WHEN (("stage" IN ('Won', 'Paid')) AND (NOT "lost")) THEN 'won' ELSE lower("stage") END)""",
        "(CASE WHEN ((`stage` IN ('Won', 'Paid')) AND (NOT `lost`)) THEN 'won' ELSE lower(`stage`) END)",
        "(CASE WHEN ((`stage` IN ('Won', 'Paid')) AND (NOT `lost`)) THEN 'won' ELSE lower(`stage`) END)",
    ),
    "case when stage = 'Won' then 'won' when lost then 'lost' else stage end": (
        """(CASE WHEN ("stage" = 'Won') THEN 'won' WHEN "lost" THEN 'lost' ELSE "stage" END)""",
        "(CASE WHEN (`stage` = 'Won') THEN 'won' WHEN `lost` THEN 'lost' ELSE `stage` END)",
        "(CASE WHEN (`stage` = 'Won') THEN 'won' WHEN `lost` THEN 'lost' ELSE `stage` END)",
    ),
    "case a when 1 then b end": (
        '(CASE WHEN ("a" = 1) THEN "b" END)',
        "(CASE WHEN (`a` = 1) THEN `b` END)",
        "(CASE WHEN (`a` = 1) THEN `b` END)",
    ),
    "a between 1 and 2 or b is not null": (
        '(("a" BETWEEN 1 AND 2) OR ("b" IS NOT NULL))',
        "((`a` BETWEEN 1 AND 2) OR (`b` IS NOT NULL))",
        "((`a` BETWEEN 1 AND 2) OR (`b` IS NOT NULL))",
    ),
    "a not like 'x%'": ("(\"a\" NOT LIKE 'x%')", "(`a` NOT LIKE 'x%')", "(`a` NOT LIKE 'x%')"),
    "-a / 2": ('((- "a") / 2)', "((- `a`) / 2)", "((- `a`) / 2)"),
}


@pytest.mark.parametrize("text", CASES)
def test_an_expression_is_written_for_each_engine(text: str) -> None:
    tree = expression(text)
    assert tuple(written(tree, GRAMMARS[name]) for name in ("postgresql", "spark", "clickhouse")) == CASES[text]


@pytest.mark.parametrize("hostile", ["'; DROP TABLE deals; --", "\\", "\\'", 'a"b', "a`b", "x\ny", "{p1:String}", "$1"])
def test_nothing_hostile_leaves_its_quotes(hostile: str) -> None:
    for name, grammar in GRAMMARS.items():
        text = grammar.text(hostile)[1:-1]
        plain = text.replace("\\\\", "").replace("\\'", "") if name != "postgresql" else text.replace("''", "")
        assert "'" not in plain
        column = grammar.name(hostile)[1:-1]
        assert grammar.quote not in column.replace(grammar.quote * 2, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sleep(1)", "no function 'sleep'"),
        ("if(a, b)", "if takes 3 arguments"),
        ("lower()", "lower takes 1 argument"),
        ("a; drop", "';'"),
        ("(select 1)", "not expected|wanted"),
        ("", "empty"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, why: str) -> None:
    with pytest.raises(Mistake, match=why):
        expression(text)


def test_columns_that_an_expression_reads_are_known() -> None:
    tree = expression("if(a > 1, coalesce(b, c.d), 'x')")
    assert [name.parts for name in columns_in(tree)] == [("a",), ("b",), ("c", "d")]
