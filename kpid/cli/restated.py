"""``kpid restated``."""

from __future__ import annotations

from typing import Annotated

import typer

from kpid.cli.measure import short
from kpid.cli.output import minute, print_json, print_rows
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def restated(
    context: typer.Context,
    kpi: Annotated[str | None, typer.Option("--kpi", help="Only this KPI.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Changed within so many days.")] = 35,
    tolerance: Annotated[float, typer.Option("--tolerance", min=0, help="Leave out changes up to this share.")] = 0.01,
    units: Annotated[float, typer.Option("--units", min=0, help="Leave out changes of counts and amounts up to this.")] = 1.0,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Figures of finished periods that have changed since they were first reported."""
    found = perform(session_of(context, config), "restated", kpi=kpi, days=days, tolerance=repr(tolerance), units=repr(units))
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("kpi", "segment", "period", "from", "to", "change", "state", "changed at", "because"))
    columns |= {"from": short, "to": short, "change": short, "changed at": minute}
    print_rows(found, columns, none="nothing was restated")
    return 0
