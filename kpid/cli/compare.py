"""``kpid compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from kpid.cli.measure import pairs
from kpid.cli.output import print_json, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def compare(
    context: typer.Context,
    kpi: Annotated[str, typer.Argument(help="Id of the KPI.")],
    event: Annotated[str, typer.Option("--event", metavar="DAY", help="The day it happened: 2017-06-01.")],
    months: Annotated[int, typer.Option("--months", min=1, max=120, help="Whole months on each side.")] = 6,
    settle_months: Annotated[
        int, typer.Option("--settle-months", min=0, max=60, help="Leave so many months out on both sides of the event.")
    ] = 0,
    by: Annotated[list[str] | None, typer.Option("--by", help="Dimension; may be repeated, or `owner,team`.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", metavar="DIM=VALUE", help="Only this segment.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the KPI.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """A KPI before and after an event: both figures, their difference, and whether chance may have made it."""
    wheres: dict[str, list[str]] = {}
    for name, value in pairs(where, "--where"):
        wheres.setdefault(name, []).append(value)
    with progress_shown() as progress:
        found = perform(
            session_of(context, config),
            "compare",
            progress=progress,
            kpi=kpi,
            event=event,
            months=months,
            settle_months=settle_months,
            by=[name for text in by or () for name in text.split(",") if name],
            where=wheres,
            params=dict(pairs(param, "--param")),
        )
    if format == "json":
        print_json(found)
        return 0
    for one in found:
        say(f"{one['segment']}: {one['sentence']}" if one["dims"] else one["sentence"])
    if not found:
        say("no rows in these months")
    return 0
