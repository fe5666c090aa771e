"""``kpid sync``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kpid.cli.output import complain, print_json, print_rows, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def sync(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="Only this source; all if left out.")] = None,
    entity: Annotated[
        list[str] | None,
        typer.Option("--entity", metavar="NAME", help="Only this, where it is filled; repeat for more."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Read again what changed since: 7d, 2026-11-01, or an instant.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what changed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Ask a source even while it wants to be left alone.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Sync one or all sources now, then measure and judge."""
    if full and since is not None:
        raise typer.BadParameter("--full reads everything again, so that --since says nothing: give one of them")
    session = session_of(context, config)
    wanted = {"source": source, "entities": entity, "since": since, "full": full, "force": force}
    with progress_shown() as progress:
        done = perform(session, "sync", **wanted, progress=progress)
    if format == "json":
        print_json(done)
    else:
        _print(done)
    return 0 if all(result["ok"] for result in done) else 1


def _print(done: list[dict[str, Any]]) -> None:
    rows = [one | {"source": result["source"]} for result in done for one in result["entities"]]
    if rows or not any(result["waits"] or result["error"] for result in done):
        columns = dict.fromkeys(("source", "entity", "state", "rows", "changed", "deletes"))
        print_rows(rows, columns, none="nothing was synced")
    for row in rows:
        for text in (*row["notes"], *row["warnings"]):
            say(f"{row['source']}/{row['entity']}: {text}")
    for result in done:
        if result["waits"]:
            say(f"{result['source']} {result['waits']}; `kpid sync {result['source']} --force` asks at once")
        if result["error"]:
            complain(f"{result['source']}: {result['error']}")
