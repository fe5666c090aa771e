"""``kpid explain``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kpid.cli.measure import pairs
from kpid.cli.output import print_json, print_rows, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def explain(
    context: typer.Context,
    kpi: Annotated[str, typer.Argument(help="Id of the KPI.")],
    period: Annotated[
        str, typer.Option("--period", help="A period (2017-12, 2017-Q4), or a kind of period: its last complete one.")
    ] = "month",
    vs: Annotated[str, typer.Option("--vs", help="`previous`, `last_year`, or a period (2016-12).")] = "previous",
    by: Annotated[list[str] | None, typer.Option("--by", metavar="DIMENSIONS", help="Look along these, not all.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="DIM=VALUE", help="Only this segment (id or name); repeatable.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the KPI.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Why a KPI moved: which segments carry its change, along every dimension. Writes nothing to history."""
    wheres: dict[str, list[str]] = {}
    for name, value in pairs(where, "--where"):
        wheres.setdefault(name, []).append(value)
    with progress_shown() as progress:
        found = perform(
            session_of(context, config),
            "explain",
            progress=progress,
            kpi=kpi,
            period=period,
            vs=vs,
            by=[name for text in by or () for name in text.split(",") if name],
            where=wheres,
            params=dict(pairs(param, "--param")),
        )
    if format == "json":
        print_json(found)
    else:
        _print(found)
    return 0


def _print(found: dict[str, Any]) -> None:
    say(found["sentence"])
    if found["margin"]:
        say(found["margin"])
    for side in ("new", "old"):
        figure = found[side]
        if figure["state"] != "ok":
            say(f"{figure['period_name']}: {figure['state']}{': ' + figure['reason'] if figure['reason'] else ''}")
    for cut in found["dimensions"]:
        say("")
        say(f"by {cut['dimension']}: {cut['reason']}".removesuffix(" "))
        columns = (
            ("effect", "segment", "how", "beyond chance") if cut["exact"] else ("segment", "before", "after", "n before", "n")
        )
        print_rows(cut["rows"], dict.fromkeys(columns), none="no segments")
        if not cut["exact"] and cut["others"]["segments"]:
            say(f"and {cut['others']['segments']} more")
    if found["alike"]:
        say("")
        say(f"one segment only: {', '.join(found['alike'])}")
