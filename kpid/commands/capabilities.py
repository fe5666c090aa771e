"""What each kind of source can tell, from the connectors' own declarations: for ``kpid sources --capabilities`` and the docs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args
from zoneinfo import ZoneInfo

from kpid.clock import SystemClock
from kpid.commands.sources import WORDS
from kpid.errors import PluginError
from kpid.plugin import Connector, ConnectorInfo, EntityReads, Known, SourceContext
from kpid.plugin.entities import ENTITIES
from kpid.registry import Plugins

T = TypeVar("T")

DELETES = {
    "pass": "told",
    "inline": "told among the rows",
    "absence": "by absence",
    "none": "not told",
}
HISTORY = {"full": "from the source", "since_sync": "observed by kpid", "none": ""}
GRAIN = {"exact": "to the instant", "day": "to the day", "none": "not told"}
_OURS = ("id", "source_id", "synced_at")
"""Columns that kpid fills itself."""
_KNOWN: Mapping[Known, str] = {"full": "yes", "since_sync": "observed", "none": ""}


@dataclass(frozen=True, slots=True)
class _Declared:
    name: str
    summary: str
    reads: tuple[EntityReads, ...]
    fills: Mapping[str, frozenset[str]]
    known: Mapping[str, Known]
    usual: frozenset[str]
    """The entities that are read without being named in ``entities``."""


def list_capabilities(plugins: Plugins, distribution: str | None = None) -> list[dict[str, Any]]:
    """One row per connector and entity, as the connectors declare it with the options of their example. Contacts nobody.

    Args:
        plugins: what is installed.
        distribution: only what comes with this one.

    Raises:
        PluginError: a connector cannot be made of its own example.
    """
    return [row for one in _declared(plugins, distribution) for row in _rows(one)]


def reference(plugins: Plugins, distribution: str = "kpid") -> str:
    """The page ``plugins/connectors/README.md``."""
    declared = list(_declared(plugins, distribution))
    lines = [
        "# The connectors that come with kpid",
        "",
        "`make reference` writes this page from what the connectors declare; a test holds them together.",
        "",
        "What a source of yours can tell depends on its settings, too: `kpid sources` says it for each, and `kpid check --kpis`",
        "which KPIs follow. What is marked (if named) is read when `entities` names it; the first two tables count it.",
        "How to write a connector: `docs/write-a-connector.md`.",
    ]
    told = [one for one in declared if one.reads]
    lines += ["", "## Entities", "", *_table(["entity", *(f"`{one.name}`" for one in told)], _matrix(told))]
    lines += ["", "## Capabilities", "", *_table(["capability", *(f"`{one.name}`" for one in told)], _capabilities(told))]
    for one in declared:
        lines += ["", f"## `{one.name}`", "", one.summary]
        if one.reads:
            heads = ["entity", "read", "changes are known", "deletions", "stage history", "ids compared", "counted", "columns"]
            lines += ["", *_table(heads, [_cells(row) for row in _rows(one)])]
            blind = [f"`{reads.entity}`" for reads in one.reads if reads.mode != "full" and not reads.listing]
            lines += ["", f"With all that the source has, `kpid sync --full` alone compares {', '.join(blind)}."] if blind else []
        else:
            lines += ["", "Fills what its configuration maps."]
    return "\n".join(lines) + "\n"


def _declared(plugins: Plugins, distribution: str | None) -> Iterator[_Declared]:
    rows = [row for row in plugins.listing() if row.kind == "connector" and row.state == "ok"]
    for name in sorted(row.name for row in rows if distribution in {None, row.distribution}):
        try:
            yield _ask(name, plugins.connectors[name])
        except (Exception, SystemExit) as error:
            text = f"connector {name} cannot say what it can do: {type(error).__name__}: {error}"
            raise PluginError(text, hint="Its ConnectorInfo needs an `example` with which it can be made") from error


def _ask(name: str, info: ConnectorInfo) -> _Declared:
    if not info.example:
        return _Declared(name, info.summary, (), {}, {}, frozenset())
    usual = frozenset(_reads(info, {}, lambda connector: [reads.entity for reads in connector.reads()]))
    every = {"entities": choices} if (choices := _choices(info)) else {}
    return _reads(
        info,
        every,
        lambda one: _Declared(name, info.summary, tuple(one.reads()), one.fills(), one.capabilities(), usual),
    )


def _reads(info: ConnectorInfo, more: Mapping[str, Any], question: Callable[[Connector[Any]], T]) -> T:
    """Ask a connector that is made of its example."""
    context = SourceContext("example", ZoneInfo("UTC"), Path(), SystemClock())
    connector: Connector[Any] = info.connector(info.connector.Settings(**{**info.example, **more}), context)
    try:
        return question(connector)
    finally:
        connector.close()


def _choices(info: ConnectorInfo) -> tuple[str, ...]:
    """All entities that can be named, if the settings list them: ``tuple[Literal["deals", ...], ...]``."""
    found = info.connector.Settings.model_fields.get("entities")
    inner = get_args(found.annotation)[:1] if found else ()
    return tuple(name for name in get_args(inner[0]) if isinstance(name, str)) if inner else ()


def _rows(one: _Declared) -> Iterator[dict[str, Any]]:
    for reads in one.reads:
        for entity in (reads.entity, *reads.carries):
            is_own = entity == reads.entity
            columns = one.fills.get(entity)
            yield {
                "connector": one.name,
                "entity": entity,
                "mode": reads.mode,
                "carried_by": None if is_own else reads.entity,
                "grain": reads.grain,
                "deletes": reads.deletes,
                "history": reads.history if is_own else "none",
                "listing": reads.listing,
                "counted": reads.counted,
                "columns": None if columns is None else sorted(columns),
                "usual": reads.entity in one.usual,
            }


def _cells(row: Mapping[str, Any]) -> list[str]:
    columns = row["columns"]
    filled = "" if columns is None else f"{len(columns)} of {len(ENTITIES[row['entity']].c) - len(_OURS)}"
    if row["carried_by"]:
        return [f"`{row['entity']}`", f"with `{row['carried_by']}`", "", "", "", "", "", filled]
    is_full = row["mode"] == "full"
    return [
        f"`{row['entity']}`{'' if row['usual'] else ' (if named)'}",
        "whole" if is_full else "changes",
        "" if is_full else GRAIN[row["grain"]],
        DELETES["absence" if is_full else row["deletes"]],
        HISTORY[row["history"]],
        "yes" if row["listing"] else "",
        "yes" if row["counted"] else "",
        filled,
    ]


def _matrix(declared: Sequence[_Declared]) -> Iterator[list[str]]:
    for entity in ENTITIES:
        states = [_KNOWN[one.known.get(entity, "none")] for one in declared]
        if any(states):
            yield [f"`{entity}`", *states]


def _capabilities(declared: Sequence[_Declared]) -> Iterator[list[str]]:
    for name, word in WORDS.items():
        yield [word, *(_KNOWN[one.known.get(name, "none")] for one in declared)]


def _table(heads: Sequence[str], rows: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
