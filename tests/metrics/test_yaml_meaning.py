"""What conditions mean: a second implementation, row by row in plain Python, agrees with the engine on random ones."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from kpid.analysis.language import printed
from kpid.analysis.language.tree import Between, Binary, Call, Case, Constant, In, IsNull, Like, Name, Several, Unary
from kpid.metrics.dialects import compile_statement
from kpid.metrics.written.meaning import condition
from kpid.metrics.written.typed import Columns, Field
from kpid.plugin.entities import deals
from kpid.testing.kpis import open_warehouse

ZONE = "Europe/Berlin"
FIELDS = {
    "seats": Field("deals", "seats", "number", key="seats"),
    "renewal": Field("deals", "renewal", "boolean", key="renewal"),
    "signed": Field("deals", "signed", "date", key="signed"),
}
COLUMNS = Columns(deals, "deals", FIELDS)
START = datetime(2017, 10, 28, 21, tzinfo=UTC)

ROWS = [
    {
        "state": ("won", "lost", "open", None)[number % 4],
        "amount": None if number % 5 == 0 else Decimal(number * 25),
        "closed_at": None if number % 7 == 0 else START + timedelta(hours=5 * number),
        "seats": (None, 0, 3, 12, 4)[number % 5],
        "renewal": (True, False, None)[number % 3],
        "signed": (None, date(2017, 10, 29), date(2017, 10, 30))[number % 3],
        "tier": ("Gold", "silver", None, "gold%")[number % 4],
    }
    for number in range(60)
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    own = ("seats", "renewal", "signed", "tier")
    rows = [
        {
            "id": str(number),
            **{key: row[key] for key in ("state", "amount", "closed_at")},
            "extra": json.dumps({key: row[key] for key in own}, default=str),
        }
        for number, row in enumerate(ROWS)
    ]
    opened = open_warehouse(tmp_path_factory.mktemp("meaning"), {"deals": rows})
    yield opened
    opened.close()


NUMBERS = st.one_of(
    st.sampled_from([Name(("amount",)), Name(("seats",)), Name(("extra", "seats"))]),
    st.integers(0, 12).map(lambda n: Constant(Decimal(n))),
)
TEXTS = st.sampled_from(
    [
        Name(("state",)),
        Name(("extra", "tier")),
        Call("lower", (Name(("extra", "tier")),)),
        *map(Constant, ("won", "gold", "", "it's")),
    ]
)
DAYS = st.sampled_from([Name(("signed",)), Call("local_date", (Name(("closed_at",)),)), Constant(date(2017, 10, 30))])
INSTANTS = st.sampled_from([Name(("closed_at",)), Constant(START + timedelta(hours=30))])
FLAGS = st.sampled_from([Name(("renewal",)), Constant(True), Constant(False)])


def sums(tree):
    return st.one_of(
        st.builds(Binary, st.sampled_from(["+", "-"]), tree, tree),
        st.builds(lambda a, b: Binary("*", a, b), tree, st.integers(0, 4).map(lambda n: Constant(Decimal(n)))),
        st.builds(lambda a, b: Binary("/", a, b), tree, st.sampled_from([Name(("seats",)), Constant(Decimal(4))])),
        st.builds(lambda a: Unary("-", a), tree),
        st.builds(lambda a, b: Call("coalesce", (a, b)), tree, tree),
        st.builds(lambda a: Call("abs", (a,)), tree),
    )


STATES = st.sampled_from(["won", "lost", "open"]).map(lambda state: Binary("=", Name(("state",)), Constant(state)))
SIMPLE = st.one_of(STATES, st.just(Name(("renewal",))), st.just(Binary(">", Name(("seats",)), Constant(Decimal(3)))))


def cases(value):
    return st.builds(Case, st.lists(st.tuples(SIMPLE, value), min_size=1, max_size=2).map(tuple), st.one_of(st.none(), value))


COUNTS = st.recursive(
    NUMBERS.filter(lambda node: node != Name(("amount",))), lambda tree: st.one_of(sums(tree), cases(tree)), max_leaves=3
)
TEXTS = st.one_of(TEXTS, cases(TEXTS))
ORDER = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
EQUAL = st.sampled_from(["=", "<>"])
LEAVES = st.one_of(
    st.builds(Binary, ORDER, COUNTS, COUNTS),
    st.builds(Binary, ORDER, st.just(Name(("amount",))), NUMBERS),
    st.builds(Binary, EQUAL, TEXTS, TEXTS),
    st.builds(Binary, ORDER, st.one_of(DAYS, INSTANTS), st.one_of(DAYS, INSTANTS)),
    st.builds(Binary, EQUAL, FLAGS, FLAGS),
    st.builds(In, TEXTS, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(Between, COUNTS, COUNTS, COUNTS, st.booleans()),
    st.builds(IsNull, st.one_of(COUNTS, TEXTS, DAYS), st.booleans()),
    st.builds(Like, TEXTS, st.sampled_from([Constant("g%"), Constant("_o%"), Constant("%'%")]), st.booleans()),
    FLAGS,
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda tree: st.one_of(
        st.builds(Several, st.sampled_from(["and", "or"]), st.lists(tree, min_size=2, max_size=3).map(tuple)),
        st.builds(lambda a: Unary("not", a), tree),
    ),
    max_leaves=5,
)

COMPARE = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def local(value):
    return value.astimezone(ZoneInfo(ZONE)).date() if isinstance(value, datetime) else value


def of(node, row):  # noqa: C901 - one line per kind of node
    match node:
        case Constant(value=Decimal()):
            return Fraction(node.value)
        case Constant():
            return node.value
        case Name():
            value = row[node.parts[-1]]
            return Fraction(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
        case Call(name="coalesce"):
            return next((value for value in (of(one, row) for one in node.arguments) if value is not None), None)
        case Call():
            value = of(node.arguments[0], row)
            return None if value is None else {"lower": str.lower, "abs": abs, "local_date": local}[node.name](value)
        case Case():
            chosen = next((value for condition, value in node.branches if of(condition, row) is True), node.otherwise)
            return None if chosen is None else of(chosen, row)
        case Several():
            found = {of(one, row) for one in node.operands}
            decisive = node.operator == "or"
            return decisive if decisive in found else None if None in found else not decisive
        case IsNull():
            return (of(node.operand, row) is None) != node.negated
        case Unary():
            value = of(node.operand, row)
            return None if value is None else not value if node.operator == "not" else -value
        case In():
            either = Several("or", tuple(Binary("=", node.operand, item) for item in node.items))
            return of(Unary("not", either) if node.negated else either, row)
        case Between():
            both = Several("and", (Binary(">=", node.operand, node.low), Binary("<=", node.operand, node.high)))
            return of(Unary("not", both) if node.negated else both, row)
        case Like():
            value, pattern = of(node.operand, row), node.pattern.value
            form = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in pattern)
            return None if value is None else (re.fullmatch(form, value) is not None) != node.negated
        case Binary():
            a, b = of(node.left, row), of(node.right, row)
            if a is None or b is None or (node.operator == "/" and b == 0):
                return None
            if isinstance(a, datetime) != isinstance(b, datetime):
                a, b = local(a), local(b)
            arithmetic = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}
            return arithmetic[node.operator]() if node.operator in arithmetic else COMPARE[node.operator](a, b)


def is_exact(node) -> bool:
    """Thirds are rounded in SQL: only quotients that decimals can hold are compared."""
    text = printed(node)
    return "/" not in text


@given(CONDITIONS)
@settings(max_examples=300, deadline=None)
def test_conditions_mean_what_plain_python_takes_them_for(warehouse, tree):
    found = condition(printed(tree), COLUMNS)
    statement = select(func.count()).select_from(deals).where(found)
    sql, parameters = compile_statement(statement, "duckdb", {"zone": ZONE})
    [count] = warehouse.query(sql, parameters).columns[0].to_pylist()
    expected = sum(of(tree, row) is True for row in ROWS)
    if is_exact(tree):
        assert count == expected, printed(tree)


def test_division_by_zero_is_no_value_and_quotients_are_decimals(warehouse):
    for text, expected in (("amount / seats >= 0", 40), ("seats / 4 = 0.75", 12), ("12 / seats between 3.9 and 4", 12)):
        statement = select(func.count()).select_from(deals).where(condition(text, COLUMNS))
        sql, parameters = compile_statement(statement, "duckdb", {"zone": ZONE})
        [count] = warehouse.query(sql, parameters).columns[0].to_pylist()
        rows = [row for row in ROWS if row["seats"]]
        assert count == (sum(row["amount"] is not None for row in rows) if expected == 40 else expected), text
