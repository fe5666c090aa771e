"""Which KPIs can be had from the configured sources: exactly, approximately or not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from kpid.clock import SystemClock
from kpid.config.load import Loaded
from kpid.config.model import Config
from kpid.errors import ConfigError, KpidError
from kpid.metrics.availability import STATES, Availability, SourceFacts, availability
from kpid.metrics.settings import settings_of
from kpid.model import Finding
from kpid.plugin.capabilities import Known
from kpid.plugin.connector import Connector, SourceContext
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import Kpi
from kpid.registry import Plugins, options_of

WAREHOUSE = "the warehouse"
"""What tables that are read in place come from."""


@dataclass(frozen=True)
class Coverage:
    """What the sources can tell, and the findings of asking them. ``sources`` is None where nobody could say."""

    sources: tuple[SourceFacts, ...] | None
    findings: tuple[Finding, ...] = ()


def coverage_of(loaded: Loaded, plugins: Plugins) -> Coverage:
    """Ask the connector of every source what it can tell; nobody is contacted."""
    found: list[SourceFacts] = []
    for name in loaded.config.sources:
        where = loaded.place("sources", name)
        try:
            found.append(_facts(loaded, plugins, name))
        except ConfigError:  # wrong settings: told elsewhere
            return Coverage(None)
        except KpidError as error:  # nobody knows yet what it brings
            return Coverage(None, (Finding(f"source {name}", False, str(error), "", where, warning=True),))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - round a plugin call
            text = f"source {name} cannot say what it reads: {type(error).__name__}: {error}"
            return Coverage(None, (Finding("data", False, text, "", where),))
    if tables := loaded.config.tables:
        columns = {name: frozenset(mapped.columns) for name, mapped in tables.items() if not mapped.same_names}
        found.append(SourceFacts(WAREHOUSE, dict.fromkeys([*tables, "deletes", "merges"], "full"), columns))
    return Coverage(tuple(found))


def judged(loaded: Loaded, plugins: Plugins, sources: tuple[SourceFacts, ...]) -> dict[str, Availability]:
    """The state of every KPI with the parameters that the company has set, by category and id."""
    kpis = sorted(plugins.kpis.values(), key=lambda kpi: (kpi.category, kpi.id))
    return {kpi.id: _judged(kpi, {}, loaded, plugins, sources) for kpi in kpis}


def summary(states: Mapping[str, Availability]) -> str:
    """``41 exact, 9 approximate, 12 unavailable``."""
    counts = Counter(found.state for found in states.values())
    return ", ".join(f"{counts[state]} {state}" for state in STATES)


def coverage_findings(loaded: Loaded, plugins: Plugins) -> Iterator[Finding]:
    """A warning for each KPI that a rule or a report wants and no source can feed; else a word on the whole catalogue."""
    found = coverage_of(loaded, plugins)
    yield from found.findings
    if found.sources is None:
        return
    told = set()
    for kpi_id, params, where in _in_use(loaded, plugins):
        state = _judged(plugins.kpis[kpi_id], params, loaded, plugins, found.sources)
        if state.state == "unavailable" and kpi_id not in told:
            told.add(kpi_id)
            hint = "Add a source that does, or take the KPI out"
            yield Finding(f"KPI {kpi_id}", False, f"{state.reasons[0]}: it will have no value", hint, where, warning=True)


def list_coverage(loaded: Loaded, plugins: Plugins) -> list[dict[str, Any]]:
    """Every KPI with its state and reasons, for ``kpid check --kpis``."""
    found = coverage_of(loaded, plugins)
    if found.sources is None:
        raise KpidError("what the sources bring cannot be told yet", hint="`kpid check` says which of them is at fault")
    states = judged(loaded, plugins, found.sources)
    return [
        {"category": plugins.kpis[name].category, "kpi": name, "state": state.state, "why": list(state.reasons)}
        for name, state in states.items()
    ]


def _judged(
    kpi: Kpi, params: Mapping[str, str], loaded: Loaded, plugins: Plugins, sources: tuple[SourceFacts, ...]
) -> Availability:
    settings = {name: own.params for name, own in settings_of(loaded.config, plugins.kpis).items()}
    judge = partial(availability, kpi, kpis=plugins.kpis, organisation=organisation_of(loaded.config), settings=settings)
    try:
        return judge({**settings.get(kpi.id, {}), **params}, sources)
    except KpidError:  # a wrong parameter: told elsewhere
        return judge({}, sources)
    except Exception as error:  # noqa: BLE001 - a plugin's definition
        return Availability("unavailable", (f"its definition is broken ({type(error).__name__}: {error})",))


def organisation_of(config: Config) -> dict[str, Known]:
    """What the configuration itself tells, whatever the sources can."""
    known: dict[str, Known] = {
        f"targets:{name}": "full" for name, own in config.kpis.items() if own.targets or own.target is not None
    }
    return known | ({"business_hours": "full"} if config.calendars else {})


def _facts(loaded: Loaded, plugins: Plugins, name: str) -> SourceFacts:
    config = loaded.config
    info = plugins.connectors.get(config.sources[name].connector)
    if info is None:  # the missing plugin is told elsewhere: who knows what it would bring
        return SourceFacts(name, dict.fromkeys(ENTITIES, "full"))
    settings = options_of(info.connector.Settings, config.sources[name].options, loaded, ("sources", name))
    zone = ZoneInfo(config.timezone)
    context = SourceContext(name, timezone=zone, folder=config.folder, clock=SystemClock(), currency=config.currency)
    kind: type[Connector[Any]] = info.connector
    connector = kind(settings, context)
    try:
        return SourceFacts(name, dict(connector.capabilities()), dict(connector.fills()))
    finally:
        connector.close()


def _in_use(loaded: Loaded, plugins: Plugins) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """The KPIs that rules and reports read, with their parameters and the place that names them."""
    config = loaded.config
    for number, rule in enumerate(config.rules):
        if rule.kpi in plugins.kpis:
            yield rule.kpi, rule.params, loaded.place("rules", number, "kpi")
    for name, job in config.reports.items():
        report = plugins.reports.get(job.report)
        for kpi in report.kpis if report else ():
            if kpi in plugins.kpis:
                yield kpi, {}, loaded.place("reports", name, "report")
