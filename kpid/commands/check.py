"""``kpid check``: everything that can be said about a configuration, without and with contacting anybody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kpid.commands.check_rules import param_findings, rule_findings
from kpid.commands.coverage import coverage_findings, coverage_of, judged, summary
from kpid.commands.waiting import waiting_findings
from kpid.config.load import Loaded
from kpid.config.model import ALL_KPIS, Config, KpiSettings
from kpid.config.problems import Key, each_error, near_miss, raise_errors
from kpid.config.secrets import redact
from kpid.errors import ConfigError, KpidError
from kpid.metrics.written import Own, joined, own_kpis
from kpid.model import Finding
from kpid.plugin.kpi import Kpi
from kpid.registry import Plugins, options_of, secrets_of
from kpid.warehouse.checking import check_warehouse

if TYPE_CHECKING:  # opening an app needs everything; looking at a configuration does not
    from kpid.app import App

PLAUSIBLE_RATIO = Decimal(5)
"""A target beyond 500 % is rather a forgotten percent sign."""

CheckTemplates = Callable[[], Sequence[Finding]]
_Part = tuple[str, Callable[[], str], Iterable[Finding]]


def check_config(loaded: Loaded, plugins: Plugins, *, check_templates: CheckTemplates | None = None) -> list[Finding]:
    """Everything that can be judged without contacting anybody. ``loaded`` has passed what :func:`load_config` checks.

    Args:
        loaded: the configuration.
        plugins: what is installed.
        check_templates: renders every template with sample data (``Renderer.check``); left out if None.

    Returns:
        One finding per mistake or warning, and one per part that is well. ``ok`` is False for both mistakes and warnings.
    """
    findings = [Finding("configuration", True, f"{_counted(loaded.files, 'file')} read", where=str(loaded.config.file))]
    for subject, text, found in _parts(loaded, plugins, check_templates):
        told = [finding for finding in found if not finding.ok]
        findings.extend(told or [Finding(subject, True, text())])
    return findings


def _parts(loaded: Loaded, plugins: Plugins, check_templates: CheckTemplates | None) -> Iterator[_Part]:
    """What is checked: its name, what to say of it if all is well, and what is found."""
    config = loaded.config
    own = own_kpis(loaded, plugins)
    plugins = joined(plugins, loaded, own)
    yield "plugins", lambda: _brought(plugins), _plugins(loaded, plugins)
    yield "sources", lambda: _counted(config.sources, "source"), _options(loaded, plugins, "sources")
    yield "receivers", lambda: _counted(config.receivers, "receiver"), _options(loaded, plugins, "receivers")
    yield "kpis", lambda: _kpis_text(config), _kpis(loaded, plugins, own)
    yield "rules", lambda: _counted(config.rules, "rule"), rule_findings(loaded, plugins)
    yield "reports", lambda: _counted(config.reports, "report"), _reports(loaded, plugins)
    yield "data", lambda: "every KPI in use has a source for its data", coverage_findings(loaded, plugins)
    yield "catalogue", lambda: _catalogue(loaded, plugins), ()
    yield "templates", lambda: "every template renders", check_templates() if check_templates else ()


def refuse_mistakes(loaded: Loaded, plugins: Plugins, *, check_templates: CheckTemplates | None = None) -> None:
    """Before a long run: refuse a configuration that :func:`check_config` finds mistakes in. Warnings pass.

    Raises:
        ConfigError: all mistakes at once.
    """
    found = [finding for _, _, findings in _parts(loaded, plugins, check_templates) for finding in findings]
    mistakes = [finding for finding in found if not finding.ok and not finding.warning]
    raise_errors([ConfigError(finding.text, where=finding.where or None, hint=finding.hint or None) for finding in mistakes])


def connect_checks(app: App) -> list[Finding]:
    """Ask the warehouse's server, every connector and notifier. One that breaks does not keep the others from it."""
    findings = check_warehouse(app.config, app.loaded.place)
    if not any(finding.subject == "warehouse" and not finding.ok for finding in findings):
        findings.extend(_statements(app))
    for name in app.config.sources:
        findings.extend(_asked(f"source {name}", lambda name=name: _check_source(app, name), app.loaded.place("sources", name)))  # type: ignore[misc]
    for name, notifier in app.notifiers.items():
        findings.extend(_asked(f"receiver {name}", notifier.check, app.loaded.place("receivers", name)))
    findings.extend(waiting_findings(app))
    secrets = secrets_of(app.loaded, app.plugins)  # an error of somebody's library may quote one
    return [replace(finding, text=redact(finding.text, secrets), hint=redact(finding.hint, secrets)) for finding in findings]


def _statements(app: App) -> list[Finding]:
    if not any(text.sql is not None for text in app.config.kpis.values()):
        return []
    from kpid.commands.check_sql import sql_findings  # noqa: PLC0415 - needs an engine

    try:
        return list(sql_findings(app))
    except KpidError as error:
        return [Finding("kpis", False, error.what, error.hint or "", error.where or app.loaded.place("warehouse"))]


def _check_source(app: App, name: str) -> Sequence[Finding]:
    with app.connector(name) as connector:
        return connector.check()


def _asked(subject: str, check: Callable[[], Sequence[Finding]], where: str) -> list[Finding]:
    try:
        found = list(check())
    except KpidError as error:
        return [Finding(subject, False, error.what, error.hint or "", error.where or where)]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - round a plugin call
        return [Finding(subject, False, f"its check failed: {type(error).__name__}: {error}", "Tell the plugin's author", where)]
    return found or [Finding(subject, True, "nothing to check")]


def _counted(things: Collection[object], one: str) -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"


def _brought(plugins: Plugins) -> str:
    kinds = {"connector": plugins.connectors, "notifier": plugins.notifiers, "KPI": plugins.kpis, "report": plugins.reports}
    return ", ".join(_counted(things, kind) for kind, things in kinds.items())


def _plugins(loaded: Loaded, plugins: Plugins) -> Iterator[Finding]:
    for error in plugins.missing(loaded):
        yield _finding("plugins", error)
    known = {*plugins.disabled, *(row.distribution for row in plugins.rows if row.state == "disabled")}
    for number, name in enumerate(loaded.config.disabled_plugins):
        if name not in known:
            where = loaded.place("disabled_plugins", number)
            yield Finding("plugins", False, f"there is no plugin {name!r} to disable", "Take it out", where, warning=True)
    for name, reason in plugins.broken.items():
        yield Finding(
            "plugins",
            False,
            f"{name} could not be loaded: {reason}",
            "Repair or uninstall it, or name it in disabled_plugins",
            warning=True,
        )


def _catalogue(loaded: Loaded, plugins: Plugins) -> str:
    found = coverage_of(loaded, plugins)
    if found.sources is None:
        return "which KPIs can be had is not known yet"
    return f"{summary(judged(loaded, plugins, found.sources))} (`kpid check --kpis` says why)"


def _finding(subject: str, error: ConfigError) -> Finding:
    return Finding(subject, False, error.what, error.hint or "", error.where or "")


def _options(loaded: Loaded, plugins: Plugins, section: str) -> Iterator[Finding]:
    for name in loaded.config.sources if section == "sources" else loaded.config.receivers:
        try:
            _settings(loaded, plugins, section, name)
        except ConfigError as error:
            for mistake in each_error(error):
                yield _finding(section, mistake)


def _settings(loaded: Loaded, plugins: Plugins, section: str, name: str) -> Any:
    """The plugin settings of a source or receiver; None if there is no such plugin."""
    if section == "sources":
        source = loaded.config.sources[name]
        info = plugins.connectors.get(source.connector)
        return options_of(info.connector.Settings, source.options, loaded, (section, name)) if info else None
    receiver = loaded.config.receivers[name]
    kind = plugins.notifiers.get(receiver.notifier)
    return options_of(kind.Settings, receiver.options, loaded, (section, name)) if kind else None


def _kpis_text(config: Config) -> str:
    defined = [name for name, settings in config.kpis.items() if settings.is_definition]
    parts = [f"{_counted(config.kpis, 'KPI')} with settings of their own"]
    parts += [f"{len(defined)} defined here: {', '.join(defined)}"] if defined else []
    return ", ".join([*parts, *([_counted(config.fields, "custom field")] if config.fields else [])])


def _kpis(loaded: Loaded, plugins: Plugins, own: Own) -> Iterator[Finding]:
    yield from (_finding("kpis", error) for error in own.errors)
    if any(text.sql is not None for text in loaded.config.kpis.values()):
        from kpid.commands.check_sql import sql_mistakes  # noqa: PLC0415 - needs the engine, which takes half a second

        yield from (_finding("kpis", error) for error in sql_mistakes(loaded, own.kpis))
    for name, settings in loaded.config.kpis.items():
        if name in plugins.kpis:
            kpi = plugins.kpis[name]
            yield from param_findings("kpis", kpi, settings.params, loaded, ("kpis", name, "params"))
            yield from _targets(kpi, settings, loaded)


def _reports(loaded: Loaded, plugins: Plugins) -> Iterator[Finding]:
    """KPIs that are pinned to what was reported, but are not in the report."""
    for name, job in loaded.config.reports.items():
        report = plugins.reports.get(job.report)
        for kpi in job.as_reported if report is not None else ():
            if report is not None and kpi != ALL_KPIS and kpi not in report.kpis:
                place = loaded.place("reports", name, "as_reported", kpi)
                yield Finding(
                    "reports", False, f"report {name} has no KPI {kpi!r}", near_miss(kpi, report.kpis, what="It has"), place
                )


def _targets(kpi: Kpi, settings: KpiSettings, loaded: Loaded) -> Iterator[Finding]:
    """Targets of segments that there are not, and rates without their percent sign."""
    values: list[tuple[Decimal | None, tuple[Key, ...]]] = [(settings.target, ("target",))]
    for number, target in enumerate(settings.targets):
        values.append((target.value, ("targets", number, "value")))
        for name in target.where:
            if name not in kpi.dimensions:
                hint = near_miss(name, kpi.dimensions, what="It has")
                place = loaded.place("kpis", kpi.id, "targets", number, "where", name)
                yield Finding("kpis", False, f"KPI {kpi.id} has no dimension {name!r}", hint, place)
    for value, path in values:
        if kpi.unit == "ratio" and value is not None and abs(value) > PLAUSIBLE_RATIO:
            text, hint = f"the target of {kpi.id} is {value * 100:f}%", f"If {value:f}% is meant, write the sign"
            yield Finding("kpis", False, text, hint, loaded.place("kpis", kpi.id, *path), warning=True)
