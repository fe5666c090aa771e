"""``kpid backtest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kpid.cli.output import print_json, print_rows, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

_SHOWN = 30
_PICTURES = (".png", ".svg")


def backtest(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(help="Name of the rule.")],
    start: Annotated[str, typer.Option("--from", metavar="DAY", help="Judge periods that begin on this day or later.")],
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Judge periods that end by this day (now).")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Measure all figures now, even if history has them.")] = False,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it: FILE.png or FILE.svg.")] = None,
    everything: Annotated[bool, typer.Option("--all", help=f"All episodes, not the newest {_SHOWN} alone.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What a rule would have done in the past, and what each of its guards saved."""
    if picture is not None and picture.suffix not in _PICTURES:
        raise typer.BadParameter(f"{picture}: write a file that ends in {' or '.join(_PICTURES)}")
    with progress_shown() as progress:
        found = perform(
            session_of(context, config), "backtest", progress=progress, rule=rule, start=start, end=end, recompute=recompute
        )
    if picture is not None:
        _draw(found, picture)
    if format == "json":
        print_json(found)
        return 0
    _tell(found, None if everything else _SHOWN)
    return 0


def _tell(found: dict[str, Any], most: int | None) -> None:
    first, last = found["periods"][0], found["periods"][-1]
    say(f"{found['rule']} ({found['kpi_name']}, {found['period']}): {first} to {last}, {found['series']} series")
    say(f"{found['evaluations']} evaluations; figures: {found['figures']}")
    say("")
    rows = [{**one, "saved": f"{one['saved']['notices']} notices" if number else ""} for number, one in enumerate(found["runs"])]
    columns = dict.fromkeys(("guards", "breaches", "episodes", "notices", "per week", "messages", "saved"))
    print_rows(rows, columns, none="")
    say("")
    none = "it would never have fired" if found["evaluations"] else "there are no figures in this time: nothing could be judged"
    episodes = found["episodes"] if most is None else found["episodes"][-most:]
    if len(episodes) < len(found["episodes"]):
        say(f"the newest {len(episodes)} of {len(found['episodes'])} episodes:")
    shown = [{**one, "ended": f"{one['ended']} ({one['end']})" if one["ended"] else "still firing"} for one in episodes]
    columns = dict.fromkeys(("segment", "level", "since", "fired", "ended", "worst", "n", "threshold"))
    print_rows([{**one, "worst": one["shown"]} for one in shown], columns, none=none)


def _draw(found: dict[str, Any], file: Path) -> None:
    from kpid.reporting.backtest_chart import Picture, backtest_chart  # noqa: PLC0415
    from kpid.reporting.raster import to_png  # noqa: PLC0415

    first, last = found["periods"][0], found["periods"][-1]
    svg = backtest_chart(
        Picture(
            title=f"{found['rule']}: {found['kpi_name']} by {found['period']}, {first} to {last}",
            labels=found["periods"],
            rows={one["segment"]: one["marks"] for one in found["marks"]},
            bars=[(one["guards"], one["notices"]) for one in found["runs"]],
        )
    )
    file.write_bytes(to_png(svg) if file.suffix == ".png" else svg.encode())
