"""The expression language: what it reads, how it prints it, and what it says of everything else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.language import Mistake, parse, printed
from kpid.analysis.language.tree import (
    COMPARISONS,
    Between,
    Binary,
    Call,
    Case,
    Constant,
    In,
    IsNull,
    Like,
    Name,
    Several,
    Unary,
)

A, B, C = Name(("a",)), Name(("b",)), Name(("c",))


def number(text: str) -> Constant:
    return Constant(Decimal(text))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        ("extra.tier", Name(("extra", "tier"))),
        ('extra."Deal tier"', Name(("extra", "Deal tier"))),
        ('extra."in ""quotes"""', Name(("extra", 'in "quotes"'))),
        ("50000", number("50000")),
        ("0.10", number("0.10")),
        ("'O''Brien'", Constant("O'Brien")),
        ("TRUE", Constant(True)),
        ("null", Constant(None)),
        ("date '2017-01-31'", Constant(date(2017, 1, 31))),
        ("instant '2017-01-31T10:00:00+01:00'", Constant(datetime(2017, 1, 31, 9, tzinfo=UTC))),
        ("a = 'won' AND b >= 5", Several("and", (Binary("=", A, Constant("won")), Binary(">=", B, number("5"))))),
        ("a or b and c", Several("or", (A, Several("and", (B, C))))),
        ("a and b and c", Several("and", (A, B, C))),
        ("not a = b and c", Several("and", (Unary("not", Binary("=", A, B)), C))),
        ("a != b", Binary("<>", A, B)),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a - (b - c)", Binary("-", A, Binary("-", B, C))),
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("-a * b", Binary("*", Unary("-", A), B)),
        ("a in ('x', 'y')", In(A, (Constant("x"), Constant("y")))),
        ("a not in (1)", In(A, (number("1"),), True)),
        ("a between 1 and 5 and b", Several("and", (Between(A, number("1"), number("5")), B))),
        ("a is not null", IsNull(A, True)),
        ("a like 'x%'", Like(A, Constant("x%"))),
        ("win_rate(weight=amount)", Call("win_rate", (Binary("=", Name(("weight",)), Name(("amount",))),))),
        ("coalesce(a, b, 0)", Call("coalesce", (A, B, number("0")))),
        ("case when a = b then 1 end", Case(((Binary("=", A, B), number("1")),))),
        ("CASE WHEN a THEN b WHEN b THEN c ELSE 0 END", Case(((A, B), (B, C)), number("0"))),
        ("case a when 'x' then 1 else 2 end", Case(((Binary("=", A, Constant("x")), number("1")),), number("2"))),
        ("case when a then case when b then 1 end end - 5", Binary("-", Case(((A, Case(((B, number("1")),))),)), number("5"))),
        ("case = 5", Binary("=", Name(("case",)), number("5"))),
        (
            "end is null and when <> then",
            Several("and", (IsNull(Name(("end",))), Binary("<>", Name(("when",)), Name(("then",))))),
        ),
        ("case in (1)", In(Name(("case",)), (number("1"),))),
        ('case when "end" then "case" end', Case(((Name(("end",)), Name(("case",))),))),
    ],
)
def test_text_becomes_a_tree(text, tree):
    assert parse(text) == tree
    assert parse(printed(tree)) == tree


@pytest.mark.parametrize(
    ("text", "part", "says"),
    [
        ("", "", "is empty"),
        ("a = ", "", "ends too early"),
        ("a = 'won", "'", "cannot stand here"),
        ("a b", "b", "is not expected here"),
        ("(a", "", "is wanted"),
        ("a)", ")", "is not expected here"),
        ("a = b = c", "=", "two comparisons in a row"),
        ("a in 5", "5", "list in parentheses"),
        ("a is 5", "5", "is null"),
        ("a not b", "b", "in, between or like"),
        ("a between 1", "", "two ends"),
        ("50k", "50k", "is not a number"),
        ("a = 20%", "%", "cannot stand here"),
        ("a; drop table deals", ";", "cannot stand here"),
        ("a -- b", "-", "cannot stand here"),
        ("a /* b", "*", "cannot begin"),
        ("date '2017-02-30'", "date '2017-02-30'", "is not a date"),
        ("instant '2017-02-28T10:00'", "instant '2017-02-28T10:00'", "which zone"),
        ("(" * 99 + "a" + ")" * 99, "(", "nested deeper"),
        ("a+" * 99 + "a", "a+" * 99 + "a", "nested deeper"),
        ("a or " * 400 + "a", "a", "more than 600 words"),
        ("a" * 5000, "a", "5,000 characters"),
        ("extra.5", "5|.5", "not expected|a name is wanted"),
        ("case when a then 1", "", "'end' is wanted instead of the end"),
        ("case when a 1 end", "1", "'then' is wanted instead of '1'"),
        ("case a else 1 end", "else", "'when' is wanted instead of 'else'"),
        ("case when a then 1 else 2 else 3 end", "else", "'end' is wanted"),
    ],
)
def test_what_is_no_expression_is_told_with_its_place(text, part, says):
    with pytest.raises(Mistake, match=says) as caught:
        parse(text)
    mistake = caught.value
    assert 0 <= mistake.start < mistake.end
    assert text[mistake.start : mistake.end] in part.split("|")


def names() -> st.SearchStrategy[Name]:
    part = st.one_of(st.sampled_from(["amount", "state", "and", "null", "in", "date", "x1", "case", "end"]), st.text(max_size=6))
    return st.lists(part, min_size=1, max_size=2).map(lambda parts: Name(tuple(parts)))


def constants() -> st.SearchStrategy[Constant]:
    numbers = st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=3)
    moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1))
    kinds = (st.none(), st.booleans(), numbers, st.text(max_size=8), st.dates(), moments)
    return st.one_of(*kinds).map(Constant)


def bigger(tree: st.SearchStrategy) -> st.SearchStrategy:
    several = st.builds(Several, st.sampled_from(["and", "or"]), st.lists(tree, min_size=2, max_size=3).map(tuple))
    return st.one_of(
        several,
        st.builds(Unary, st.sampled_from(["not", "-"]), tree),
        st.builds(Binary, st.sampled_from([*COMPARISONS, "+", "-", "*", "/"]), tree, tree),
        st.builds(In, tree, st.lists(tree, min_size=1, max_size=3).map(tuple), st.booleans()),
        st.builds(Between, tree, tree, tree, st.booleans()),
        st.builds(IsNull, tree, st.booleans()),
        st.builds(Like, tree, tree, st.booleans()),
        st.builds(Call, st.sampled_from(["coalesce", "win_rate", "date"]), st.lists(tree, max_size=3).map(tuple)),
        st.builds(Case, st.lists(st.tuples(tree, tree), min_size=1, max_size=2).map(tuple), st.one_of(st.none(), tree)),
    )


@given(st.recursive(st.one_of(names(), constants()), bigger, max_leaves=12))
@settings(max_examples=300, deadline=None)
def test_what_is_printed_parses_to_the_same_tree(tree):
    assert parse(printed(tree)) == tree
    assert printed(parse(printed(tree))) == printed(tree)


PIECES = "a b and or not in between is null like ( ) ( ) , . + - * / = <> < 1 0.5 'x' '' \" ' ; -- /* date '2017-01-01' extra %"
WORDS = st.sampled_from([*PIECES.split(), "case", "when", "then", "else", "end"])


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused_with_a_place_inside_it(text):
    try:
        tree = parse(text)
    except Mistake as mistake:
        assert 0 <= mistake.start < mistake.end <= len(text) + 1  # noqa: PT017
        return
    assert parse(printed(tree)) == tree
