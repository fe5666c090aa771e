"""``kpid forecast``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kpid.cli.measure import pairs, short
from kpid.cli.output import print_json, print_rows, progress_shown
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def forecast(
    context: typer.Context,
    kpi: Annotated[str, typer.Argument(help="Id of the KPI.")],
    period: Annotated[
        str, typer.Option("--period", help="week, month, quarter ...: the running one; or a period (2017-Q4).")
    ] = "month",
    by: Annotated[list[str] | None, typer.Option("--by", help="Dimension; may be repeated, or `owner,team`.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", metavar="DIM=VALUE", help="Only this segment.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the KPI.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What a running period will come to, with an 80 % interval, and how it stands to its target."""
    wheres: dict[str, list[str]] = {}
    for name, value in pairs(where, "--where"):
        wheres.setdefault(name, []).append(value)
    with progress_shown() as progress:
        found = perform(
            session_of(context, config),
            "forecast",
            progress=progress,
            kpi=kpi,
            period=period,
            by=[name for text in by or () for name in text.split(",") if name],
            where=wheres,
            params=dict(pairs(param, "--param")),
        )
    if format == "json":
        print_json(found)
    else:
        _print(found)
    return 0


def _print(found: list[dict[str, Any]]) -> None:
    dimensions = list(found[0]["dims"]) if found else []
    rows = [
        {
            **one,
            **{name: one["dims"][name]["name"] for name in dimensions},
            "period": one["period"]["label"],
            "80_%": _span(one["forecast_low"], one["forecast_high"]),
            "pace": None if one["pace"] is None else f"{one['pace']:.0%}",
            "notes": "; ".join(part for part in (one["reason"], *one["notes"]) if part),
        }
        for one in found
    ]
    figures = ("value", "forecast", "80 %", "target", "expected", "pace", "projected")
    columns: dict[str, Any] = dict.fromkeys(("period", *dimensions, "progress", *figures, "standing", "currency", "notes"))
    columns |= dict.fromkeys(("value", "target"), short) | dict.fromkeys(("forecast", "expected", "projected"), _about)
    print_rows(rows, columns, none="no rows in this period")


def _span(low: float | None, high: float | None) -> str | None:
    if low is None:
        return None
    return f"{_about(low)} to {_about(high)}" if high is not None else f"{_about(low)} or more"


def _about(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
