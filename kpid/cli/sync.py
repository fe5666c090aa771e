"""``kpid sync``."""

from __future__ import annotations

from typing import Annotated

import typer

from kpid.cli.output import complain, print_json, print_rows, progress_shown
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def sync(
    context: typer.Context,
    source: Annotated[str | None, typer.Argument(help="Only this source; all if left out.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what changed.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Sync one or all sources now, then measure and judge."""
    session = session_of(context, config)
    with progress_shown() as progress:
        done = perform(session, "sync", source=source, full=full, progress=progress)
    if format == "json":
        print_json(done)
    else:
        rows = [one | {"source": result["source"]} for result in done for one in result["entities"]]
        columns = dict.fromkeys(("source", "entity", "state", "rows", "changed", "deletes"))
        print_rows(rows, columns, none="nothing was synced")
        for result in done:
            if result["error"]:
                complain(f"{result['source']}: {result['error']}")
    return 0 if all(result["ok"] for result in done) else 1
