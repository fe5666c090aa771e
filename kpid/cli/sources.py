"""``kpid sources``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kpid.cli.output import local, print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, Session, perform, session_of


def sources(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="Only this source; all if left out.")] = None,
    capabilities: Annotated[bool, typer.Option("--capabilities", help="What each kind of source can tell.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The same as a page, of what comes with kpid.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Where each source stands: entity by entity how far, how old, how many rows, what went wrong, what comes next."""
    session = session_of(context, config)
    if capabilities or markdown:
        return _capabilities(session, as_page=markdown, as_json=format == "json")
    from kpid.commands.sources import ailing  # noqa: PLC0415

    found = perform(session, "sources", source=source)
    if format == "json":
        print_json(found)
    else:
        _print(found, _zone(session))
    return 1 if ailing(found) else 0


def _zone(session: Session) -> ZoneInfo:
    from kpid.config.load import load_config  # noqa: PLC0415

    return ZoneInfo(load_config(session.config_file).config.timezone)


def _print(found: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> None:
    if not found:
        say("no source is configured")
    minute = local(zone)
    columns = {"entity": None, "state": None, "through": minute, "age": None, "rows": "{:,}".format, "gone": "{:,}".format}
    more = {"reads": None, "compared": None, "last error": None}
    for number, (_, group) in enumerate(groupby(found, key=lambda row: row["source"])):
        rows = list(group)
        say(("\n" if number else "") + _heading(rows[0], zone))
        print_rows([_line(row, minute) for row in rows], columns | more, none="")


def _heading(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    after = f"next {local(zone)(row['next'])} {zone.key}, " if row["next"] else ""
    known = ""
    if row["can"] is not None:
        known = f"; can: {', '.join(row['can']) or '-'}; observed: {', '.join(row['observes']) or '-'}"
    return f"{row['source']} ({row['connector']})  {after}every {row['every']}{known}"


def _line(row: Mapping[str, Any], minute: Callable[[Any], str]) -> dict[str, Any]:
    from kpid.analysis.wording import age_text  # noqa: PLC0415

    waits = f"waits until {minute(row['deferred_until'])}: " if row["deferred_until"] else ""
    backfill = f"backfill {row['backfill']}. " if row["backfill"] else ""
    age = "" if row["age_s"] is None else age_text(timedelta(seconds=row["age_s"]))
    return {
        "entity": row["entity"] or "-",
        "state": f"with {row['carried_by']}" if row["state"] == "carried" else row["state"],
        "through": row["through"],
        "age": f"{age} (stale)" if age and row["stale"] else age,
        "rows": row["rows"],
        "gone": row["deleted"],
        "reads": row["mode"],
        "compared": minute(row["reconciled_at"]) if row["compared"] == "by ids" and row["reconciled_at"] else row["compared"],
        "last_error": f"{backfill}{waits}{row['error'] or ''}",
    }


def _capabilities(session: Session, *, as_page: bool, as_json: bool) -> int:
    from kpid.commands.capabilities import list_capabilities, reference  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    if as_page:
        say(reference(load_plugins()).rstrip("\n"))
        return 0
    if session.explicit or session.config_file.is_file():
        known = load_config(session.config_file).config
        plugins = load_plugins(plugins_dir=known.plugins_dir, disabled=known.disabled_plugins)
    else:
        plugins = load_plugins()
    found = list_capabilities(plugins)
    if as_json:
        print_json(found)
        return 0
    yes = lambda value: "yes" if value else ""  # noqa: E731
    columns = {
        **dict.fromkeys(("connector", "entity")),
        "mode": None, "grain": None, "deletes": None, "history": None, "listing": yes, "counted": yes,
        "columns": lambda names: str(len(names)),
    }  # fmt: skip
    print_rows(found, columns, none="no connector says what it can do without a configuration")
    return 0
