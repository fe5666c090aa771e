"""``kpid kpis``: the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from kpid.cli.output import print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, Session, session_of

if TYPE_CHECKING:
    from kpid.config.load import Loaded
    from kpid.registry import Plugins


class _ListFirst(TyperGroup):
    """A group that lists where no command is named: ``kpid kpis churn`` is ``kpid kpis list churn``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``list`` before anything that is neither a command nor a call for help."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ListFirst, help="The catalogue of KPIs: list, search, and look a definition up.")


@app.command("list")
def list_(
    context: typer.Context,
    search: Annotated[list[str] | None, typer.Argument(help="Words to look for.", show_default=False)] = None,
    category: Annotated[str, typer.Option("--category", help="Only these: sales, pipeline, support ...")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of the KPIs that come with kpid.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """List KPIs, or those about something."""
    from kpid.commands.kpis import list_kpis, reference  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    if markdown:
        say(reference(load_plugins()).rstrip("\n"))
        return 0
    plugins, _ = _installed(session_of(context, config))
    found = list_kpis(plugins, " ".join(search or ()), category)
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("id", "name", "unit", "better", "period", "min sample", "what"))
    rows = [one | {"min_sample": one["min_sample"] or ""} for one in found]
    print_rows(rows, columns, none="no plugin brings a KPI")
    return 0


@app.command("show")
def show(
    context: typer.Context,
    kpi: Annotated[str, typer.Argument(help="Id of the KPI.")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What a KPI is, how it is computed, what it needs and how it misleads."""
    from kpid.commands.kpis import card, show_kpi  # noqa: PLC0415

    plugins, loaded = _installed(session_of(context, config))
    found = show_kpi(plugins, kpi, loaded)
    if format == "json":
        print_json(found)
        return 0
    say(f"{found['name']} ({found['id']}, {found['category']})")
    lines = [(label, text) for label, text in card(found) if text]
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        say(f"{label:<{width}}  {text}")
    return 0


def _installed(session: Session) -> tuple[Plugins, Loaded | None]:
    """The plugins of the configuration, its own KPIs among them; without one those that are installed."""
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.metrics.written import with_own_kpis  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    if not (session.explicit or session.config_file.is_file()):
        return load_plugins(), None
    loaded = load_config(session.config_file)
    plugins = load_plugins(plugins_dir=loaded.config.plugins_dir, disabled=loaded.config.disabled_plugins)
    return with_own_kpis(plugins, loaded), loaded
