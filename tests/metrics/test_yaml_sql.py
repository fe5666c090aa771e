"""``sql:`` of a KPI: what is read is what is said to be read, and nothing else is possible."""

from __future__ import annotations

import json
import random

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.language import Mistake
from kpid.metrics.written.selects import check_select, select_entity
from kpid.plugin.entities import ENTITIES
from kpid.warehouse.duckdb import open_duckdb

GOOD = {
    "select closed_at as at from deals": ("deals",),
    "SELECT d.closed_at FROM deals AS d, accounts a WHERE a.id = d.account_id": ("accounts", "deals"),
    'select "closed_at" from "deals"': ("deals",),
    "with x as (select id from deals), y (n) as (select count(*) from x) select n from y": ("deals",),
    "select 1 from (select id from deals union all select id from leads) q join users on true": ("deals", "leads", "users"),
    "select extract(year from closed_at), substring(name from 1 for 2), trim(both ' ' from name) from deals": ("deals",),
    "select 1 from deals where state is distinct from product and amount in (select amount from orders, leads)": None,
    "select sum(amount) over (partition by owner_id order by closed_at) from deals": None,
    "select count(*) filter (where true), percentile_cont(0.5) within group (order by amount) from deals group by owner_id": None,
    "select cast(amount as decimal(20, 2)), amount::numeric, case when (amount > 5) then 1 else 0 end from deals": ("deals",),
    "select 1 from deals -- from secrets; drop table x\n where 'from secrets; /*' <> '' /* read_csv('x') */ limit 5": ("deals",),
    "select closed_at as delete, d.update from deals d": ("deals",),
    "select 1 from ((deals d join leads l on true) join users u on true)": ("deals", "leads", "users"),
    "select 'it''s; -- fine' from deals where exists (select 1 from activities a where a.deal_id = deals.id)": (
        "activities",
        "deals",
    ),
}

BAD = [
    "",
    "deals",
    "values (1)",
    "from deals",
    "select 1",
    "select 1 from deals;",
    "select 1 from deals; delete from deals",
    "delete from deals",
    "update deals set amount = 0",
    "with x as (delete from deals returning *) select * from x, deals",
    "with x as (insert into deals select * from deals returning *) select 1 from deals",
    "select * into copy_of_deals from deals",
    "select 1 from deals for update",
    "copy deals to '/tmp/x'",
    "attach 'x.db'; select 1 from deals",
    "select * from deals, 'other.csv'",
    "select * from deals join 'other.csv' on true",
    'select * from deals, "other.csv"',
    "select * from deals, read_csv('x')",
    "select * from deals, lateral read_text('/etc/passwd')",
    "select read_text('/etc/passwd') from deals",
    "select getenv('HOME') from deals",
    "select current_setting('x') from deals",
    "select pg_read_file('/etc/passwd') from deals",
    "select pg_sleep(100) from deals",
    "select nextval('x') from deals",
    "select main.read_text('/etc/passwd') from deals",
    "select \"read_text\"('/etc/passwd') from deals",
    "select 1 from deals where amount > (select max(x) from secrets)",
    "select 1 from deals, secrets",
    "select 1 from deals left join secrets on true",
    "select 1 from deals d join (select 1 as where) q on q.where = 1, secrets s",
    "select 1 from deals d join (leads l join secrets s on true) on true",
    "select 1 from deals where exists (from secrets)",
    "select 1 from deals union select 1 from secrets",
    "select 1 from deals union table secrets",
    "select distinct from secrets, deals",
    "select 1 from main.deals",
    "select 1 from information_schema.tables, deals",
    "select * from duckdb_secrets(), deals",
    "select * from deals, pragma_database_list",
    "select sum(id) over w from deals, secrets window w as (order by id), secrets as (order by id)",
    "with deals as (select 1 from leads) select * from deals",
    "with recursive x as (select 1 from deals union all select * from x) select * from x",
    "select 1 from deals where name = 'x\\' or 1=1 --'",
    "select 1 from deals where name = E'\\''",
    "select 1 from deals where name = e'x'",
    "select 1 from deals where name = $$x$$",
    "select 1 from deals where name = $1",
    "select 1 from deals where name = ?",
    "select 1 from deals where name = :name",
    "select 1 from deals where name = `x`",
    "select 1 from deals # comment",
    "select 1 from deals -- comment\r, secrets",
    "select 1 from deals /* /* nested */ , secrets */",
    "select 1 from deals /* open",
    "select 1 from deals where name = 'open",
    "select 1 from deals where (amount > 5",
    "select 1 from deals) where (1 = 1",
    "select '%(x)s' from deals",
    "select '__[POSTCOMPILE_x]' from deals",
    "select 1 from deals where name = '\x00'",
    "summarize deals",
    "explain select 1 from deals",
    "select COLUMNS('x') from deals",
    "select {'a': 1} from deals",
    "select [1, 2] from deals",
    'select 1 from deals, "SECRETS" where 1 = 1',
    'with secrets as (select 1 from deals) select 1 from "SECRETS"',
]


@pytest.mark.parametrize(("sql", "tables"), GOOD.items())
def test_one_select_over_canonical_tables_is_taken(sql, tables):
    found = check_select(sql)
    assert found == tables or tables is None
    assert "deals" in found


@pytest.mark.parametrize("sql", BAD)
def test_anything_else_is_refused_with_a_place(sql):
    with pytest.raises(Mistake) as caught:
        check_select(sql)
    assert 0 <= caught.value.start < max(caught.value.end, 1)


class Writer:
    """Writes statements that are nearly right: other tables, files and keywords wherever SQL lets them be."""

    TABLES = ("deals", "leads", "secrets", '"secrets"', "x", "deals d", "leads as l", "'x.csv'", "main.secrets", '"SECRETS"')
    COLUMNS = ("1", "*", "1 as where", "id", "distinct id", "count(*) from_", "a as from", "d.from")
    CONDITIONS = ("true", "d.where = 1", "a is distinct from b", "extract(year from x) > 1", "not distinct from y")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def whole(self) -> str:
        parts = ("with x as (", "with secrets as (", "with y (a, b) as (", "with deals as (")
        begin = f"{self.rng.choice(parts)}{self.select(1)}) " if self.rng.random() < 0.3 else ""
        return begin + self.select()

    def select(self, depth: int = 0) -> str:
        column = f"(select 1 from {self.table(depth + 1)})" if self.rng.random() < 0.1 else self.rng.choice(self.COLUMNS)
        text = f"select {column} from {self.table(depth + 1)}"
        if self.rng.random() < 0.3:
            text += f" where {self.condition(depth + 1)}"
        text += self.rng.choice([*[""] * 8, " group by id, secrets", " window w as (order by id), secrets as (order by id)"])
        return text if depth > 2 or self.rng.random() > 0.15 else f"{text} union {self.select(depth + 1)}"

    def table(self, depth: int) -> str:
        kind = 0 if depth > 3 else self.rng.randrange(8)
        match kind:
            case 4:
                return f"({self.select(depth + 1)}) {self.rng.choice(['q', 'as s', ''])}"
            case 5:
                return f"{self.table(depth + 1)}, {self.table(depth + 1)}"
            case 6:
                return f"{self.table(depth + 1)} join {self.table(depth + 1)} on {self.condition(depth + 1)}"
            case 7:
                return f"({self.table(depth + 1)})"
            case _:
                return self.rng.choice(self.TABLES)

    def condition(self, depth: int) -> str:
        if depth > 3 or self.rng.random() < 0.7:
            return self.rng.choice(self.CONDITIONS)
        return f"{self.rng.choice(['exists', 'id in'])} ({self.select(depth + 1)})"


def test_what_is_taken_reads_nothing_else_by_the_engines_own_account(engine):
    """DuckDB names the tables and functions of a statement itself: none that we have not seen."""
    writer, compared = Writer(random.Random(7)), 0
    for _ in range(6000):
        sql = writer.whole()
        try:
            tables = check_select(sql)
        except Mistake:
            continue
        [(answer,)] = engine.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()
        tree = json.loads(answer)
        if tree["error"]:
            continue  # no SQL at all: the engine refuses it, too
        compared += 1
        parts = {one["key"].lower() for node in nodes_of(tree) for one in node.get("cte_map", {}).get("map", ())}
        read = {node["table_name"] for node in nodes_of(tree) if node.get("type") == "BASE_TABLE"}
        assert len(tree["statements"]) == 1
        assert read <= {*tables, *parts}, sql
        assert not [node for node in nodes_of(tree) if node.get("type") == "TABLE_FUNCTION"], sql
    assert compared > 300


PIECES = """select from deals leads secrets "deals" 'x' x as with ( ) ( ) , . * join on where union table is distinct not values -
/ count( extract( /* */ -- ' " ; $$ $1 ? : :: \\ ` # [ ] { } é"""


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES.split()), max_size=20).map(" ".join)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_statement_or_refused_with_a_place(text):
    try:
        assert check_select(f"select 1 from deals {text}")
    except Mistake as mistake:
        assert 0 <= mistake.start < mistake.end <= len(text) + 21  # noqa: PT017


def nodes_of(tree):
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes_of(part)


@pytest.fixture(scope="module")
def engine():
    with duckdb.connect() as connection:
        yield connection


@pytest.mark.parametrize("sql", [sql for sql, tables in GOOD.items() if "delete" not in sql])
def test_what_is_taken_runs(tmp_path, sql):
    warehouse = open_duckdb(tmp_path / "x.duckdb")
    try:
        inner = f"select count(*) as n from ({sql}\n) q"
        assert warehouse.query(inner).num_rows == 1
    finally:
        warehouse.close()


def test_entity_knows_its_tables_and_columns():
    found = select_entity("select d.closed_at as at, 1 as n from deals d", "mine", {"at": "instant", "n": "number"})
    assert found.c.keys() == ["at", "n"]
    assert set(ENTITIES) >= {"deals"}
