"""``kpid check``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from kpid.cli.output import print_findings, print_json, print_rows
from kpid.cli.session import ConfigOption, FormatOption, Session, need_config, perform, session_of
from kpid.config.paths import path_from_url
from kpid.errors import KpidError


def check(
    context: typer.Context,
    connect: Annotated[bool, typer.Option("--connect", help="Contact sources and receivers, too; sends nothing.")] = False,
    kpis: Annotated[
        bool, typer.Option("--kpis", help="Which KPIs the sources can feed: exact, approximate, unavailable.")
    ] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Validate the configuration: everything that can be without contacting anybody."""
    from kpid.commands.check import check_config  # noqa: PLC0415
    from kpid.commands.check_templates import template_findings  # noqa: PLC0415
    from kpid.commands.coverage import list_coverage  # noqa: PLC0415
    from kpid.commands.plain import plain  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.config.times import calendar_of  # noqa: PLC0415
    from kpid.metrics.written import with_own_kpis  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415
    from kpid.reporting.render import Renderer  # noqa: PLC0415

    session = session_of(context, config)
    loaded = load_config(need_config(session))
    settings = loaded.config
    plugins = load_plugins(plugins_dir=settings.plugins_dir, disabled=settings.disabled_plugins)
    if kpis:
        return _kpis(list_coverage(loaded, with_own_kpis(plugins, loaded)), format)
    calendar = calendar_of(settings)
    renderer = Renderer.for_config(settings, plugins.filters, calendar)
    templates = partial(template_findings, loaded, plugins, renderer)
    findings = [plain(one) for one in check_config(loaded, plugins, check_templates=templates)]
    if settings.population.text and (connect or _is_at_hand(settings.warehouse)):
        findings += _population(session, findings)
    if connect:
        findings += perform(session, "check connect")
    if format == "json":
        print_json(findings)
    else:
        print_findings(findings)
    return 0 if all(one["ok"] or one.get("warning") for one in findings) else 1


def _population(session: Session, so_far: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the population leaves out of the data; nothing can be opened with a configuration that is wrong."""
    if not all(one["ok"] or one.get("warning") for one in so_far):
        return []
    try:
        found: list[dict[str, Any]] = perform(session, "check population")
    except KpidError as error:
        text = f"what it leaves out is not known: {error.what}"
        return [{"subject": "population", "ok": False, "text": text, "hint": error.hint or "", "where": "", "warning": True}]
    return found


def _is_at_hand(warehouse: str) -> bool:
    """Whether the facts are in a file that is there: nobody has to be contacted."""
    file = path_from_url(warehouse) if warehouse.startswith("duckdb:") else None
    return file is not None and file.is_file()


def _kpis(found: list[dict[str, Any]], how: str) -> int:
    if how == "json":
        print_json(found)
        return 0
    rows = [{**one, "why": "; ".join(one["why"])} for one in found]
    print_rows(rows, dict.fromkeys(("category", "kpi", "state", "why")), none="no plugin brings a KPI")
    return 0
