"""``kpid runs``, ``kpid schedule`` and ``kpid plugins``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

import typer

from kpid.cli.output import local, print_json, print_rows
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

State: TypeAlias = Literal["due", "running", "done", "failed", "skipped"]


def runs(
    context: typer.Context,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Only `sync:NAME` or `report:NAME`.")] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What ran, what failed, what was skipped and why; newest first."""
    found = perform(session_of(context, config), "runs", schedule=schedule, state=state, limit=limit)
    if format == "json":
        print_json(found)
        return 0
    print_rows(found, dict.fromkeys(("schedule", "due", "state", "reason")), none="nothing has run yet")
    return 0


def schedule(
    context: typer.Context,
    count: Annotated[int, typer.Option("--count", min=1, max=100, help="So many of each.")] = 5,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What runs next, in the company's zone and in UTC."""
    found = perform(session_of(context, config), "schedule", count=count)
    if format == "json":
        print_json(found)
        return 0
    rows = [one | {"local": one["due"], "UTC": one["due_at"]} for one in found]
    columns = {"schedule": None, "local": lambda text: text[:16].replace("T", " "), "UTC": local(ZoneInfo("UTC")), "every": None}
    print_rows(rows, columns, none="nothing is scheduled")
    return 0


def plugins(
    context: typer.Context,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Kind, name, version, distribution and state of every plugin; broken ones with their reason."""
    from kpid.commands.listings import list_plugins  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.metrics.written import joined, own_kpis  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    session = session_of(context, config)
    if session.explicit or session.config_file.is_file():
        loaded = load_config(session.config_file)
        plugins = load_plugins(plugins_dir=loaded.config.plugins_dir, disabled=loaded.config.disabled_plugins)
        found = list_plugins(joined(plugins, loaded, own_kpis(loaded, plugins)))
    else:  # no configuration yet: what is installed
        found = list_plugins(load_plugins())
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("kind", "name", "version", "distribution", "state", "reason"))
    print_rows(found, columns, none="no plugins are installed")
    return 0
