"""``kpid measure``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from kpid.cli.output import print_json, print_rows, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def measure(
    context: typer.Context,
    kpi: Annotated[str, typer.Option("--kpi", help="Id of the KPI.")],
    period: Annotated[
        str,
        typer.Option(
            "--period",
            help="day, week, month ...; last_complete_month; or one: 2017-12, 2017-01-15..2017-02-10; campaign_to_date.",
        ),
    ] = "month",
    by: Annotated[list[str] | None, typer.Option("--by", help="Dimension; may be repeated, or `owner,team`.")] = None,
    where: Annotated[list[str] | None, typer.Option("--where", metavar="DIM=VALUE", help="Only this segment.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the KPI.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day (default: 13 periods back).")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Day at which to stop, itself not included.")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="Print periods without rows, too.")] = False,
    vs: Annotated[
        str | None,
        typer.Option("--vs", metavar="WHAT", help="previous, same_weekday, last_year, last_year_iso_week, last_year_364d ..."),
    ] = None,
    align: Annotated[
        Literal["calendar_days", "working_days"], typer.Option("--align", help="Equal length of mtd, qtd ... that are compared.")
    ] = "calendar_days",
    per_working_day: Annotated[bool, typer.Option("--per-working-day", help="Compare counts and sums per working day.")] = False,
    as_reported: Annotated[
        str | None, typer.Option("--as-reported", metavar="DAY", help="What was reported then, or `first`; not what is true now.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="Cut periods in this zone, not in the company's.")
    ] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Compute a KPI from the data as it is. Writes nothing to history."""
    session = session_of(context, config)
    wheres: dict[str, list[str]] = {}
    for name, value in pairs(where, "--where"):
        wheres.setdefault(name, []).append(value)
    with progress_shown() as progress:
        found = perform(
            session,
            "measure",
            progress=progress,
            kpi=kpi,
            period=period,
            by=[name for text in by or () for name in text.split(",") if name],
            where=wheres,
            params=dict(pairs(param, "--param")),
            start=start,
            end=end,
            fill=fill,
            vs=vs,
            align=align,
            per_working_day=per_working_day,
            as_reported=as_reported,
            timezone=timezone,
        )
    if format == "json":
        print_json(found)
    else:
        _print(found)
    return 0


def pairs(texts: list[str] | None, option: str) -> list[tuple[str, str]]:
    """What stands behind a repeated ``NAME=VALUE`` option."""
    found = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        found.append((name, value))
    return found


def _print(found: list[dict[str, Any]]) -> None:
    dimensions = list(found[0]["dims"]) if found else []
    is_compared = bool(found) and "reference" in found[0]
    rows = [
        {
            **one,
            **{name: one["dims"][name]["name"] for name in dimensions},
            "period": one["period"]["label"],
            **({"versus": one["reference"]["label"], "was": one["reference"]["value"]} if is_compared else {}),
            "change": _percent(one.get("relative_change")),
            "notes": "; ".join(part for part in (one["reason"], *one["warnings"]) if part),
        }
        for one in found
    ]
    figures = ("compared", "was", "difference") if is_compared else ("value", "low", "high")
    beside = ("versus", *figures, "change", "currency") if is_compared else (*figures, "currency", "numerator", "denominator")
    columns: dict[str, Any] = dict.fromkeys(("period", *dimensions, *beside, "n", "state", "notes"))
    columns |= {name: short for name in (*figures, "numerator", "denominator") if name in columns}
    print_rows(rows, columns, none="no rows in these periods (--fill prints them all the same)")
    if found and found[0].get("population"):
        say(f"Counted: {found[0]['population']}")


def _percent(change: float | None) -> str | None:
    return None if change is None else f"{change:+.1%}"


def short(value: float) -> str:
    """A number for a table: whole ones in full, others with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
