"""What a configuration says, beyond the types of its values: schedules, kinds of periods, names that refer to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from kpid.analysis import fiscal_months
from kpid.analysis.periods import check_kind, is_kind, recurs
from kpid.analysis.schedule import schedule_from_text
from kpid.config.model import Config, ReportJob, Source
from kpid.config.population import population_errors
from kpid.config.problems import Key, Place, near_miss
from kpid.config.routing import routing_errors
from kpid.config.tables import table_errors
from kpid.config.times import calendar_of, target_period
from kpid.errors import ConfigError, KpidError


def meaning_errors(config: Config, place: Place) -> list[ConfigError]:
    """Every mistake that can be seen without knowing the plugins."""
    return [
        *_times(config, place),
        *_folders(config, place),
        *_schedules(config, place),
        *_read_every(config, place),
        *_periods(config, place),
        *_rule_names(config, place),
        *_receivers(config, place),
        *_absences(config, place),
        *routing_errors(config, place),
        *population_errors(config.population, place),
        *table_errors(config.tables, config.warehouse, place, syncs=bool(config.sources)),
    ]


def _times(config: Config, place: Place) -> Iterator[ConfigError]:
    faults = list(fiscal_months.faults(config.fiscal_month_starts, config.fiscal_year))
    for number, what, hint in faults:
        yield ConfigError(f"fiscal_month_starts: {what}", where=place("fiscal_month_starts", number), hint=hint)
    if not faults:
        key = "fiscal_month_starts" if config.fiscal_month_starts else "fiscal_year_starts"
        yield from _judged(partial(calendar_of, config), place(key if getattr(config, key) else "fiscal_pattern"), "fiscal_year")
    if config.calendar is not None and config.calendar not in config.calendars:
        hint = near_miss(config.calendar, config.calendars, what="Calendars")
        yield ConfigError(f"there is no calendar {config.calendar!r}", where=place("calendar"), hint=hint)
    for name, settings in config.kpis.items():
        for number, target in enumerate(settings.targets):
            read = partial(target_period, target.period, config)
            yield from _judged(read, place("kpis", name, "targets", number, "period"), "period")


def _folders(config: Config, place: Place) -> Iterator[ConfigError]:
    for key, folder in {"plugins_dir": config.plugins_dir, "templates_dir": config.templates_dir}.items():
        if folder is not None and not folder.is_dir():
            yield ConfigError(f"{key}: there is no folder {folder}", where=place(key), hint=f"Create it, or take {key} out")


def _schedules(config: Config, place: Place) -> Iterator[ConfigError]:
    sections: tuple[tuple[str, Mapping[str, Source | ReportJob]], ...] = (
        ("sources", config.sources),
        ("reports", config.reports),
    )
    for section, jobs in sections:
        for name, job in jobs.items():
            read = partial(schedule_from_text, job.every, config.timezone)
            yield from _judged(read, place(section, name, "every"), "every")


def _read_every(config: Config, place: Place) -> Iterator[ConfigError]:
    yield from _judged(partial(schedule_from_text, config.read_every, config.timezone), place("read_every"), "read_every")


def _periods(config: Config, place: Place) -> Iterator[ConfigError]:
    kinds: list[tuple[str, tuple[Key, ...]]] = [
        (rule.period, ("rules", number, "period")) for number, rule in enumerate(config.rules) if rule.absence is None
    ]
    kinds += [(job.period, ("reports", name, "period")) for name, job in config.reports.items() if job.period is not None]
    for kind, path in kinds:
        if kind == "campaign_to_date":
            hint = (
                "`kpid measure --period campaign_to_date --by campaign` prints it; rules and reports want periods that come again"
            )
            yield ConfigError(f"period: {kind} is another period for each campaign", where=place(*path), hint=hint)
            continue
        yield from _judged(partial(check_kind, kind), place(*path), "period")
        if is_kind(kind) and not recurs(kind):
            hint = "Use a kind of period that comes again, such as month or rolling_90d"
            yield ConfigError(f"period: {kind} comes only once", where=place(*path), hint=hint)


def _judged(read: Callable[[], object], where: str, key: str) -> Iterator[ConfigError]:
    try:
        read()
    except KpidError as error:
        yield ConfigError(f"{key}: {error.what}", where=where, hint=error.hint)
    except ValueError as error:
        yield ConfigError(f"{key}: {error}", where=where)


def _rule_names(config: Config, place: Place) -> Iterator[ConfigError]:
    seen: dict[str, str] = {}
    for number, rule in enumerate(config.rules):
        for key, name in {"name": rule.name, "id": rule.uid}.items():
            where = place("rules", number, key)
            if seen.setdefault(name, f"rule {number}") != f"rule {number}":
                first = place("rules", int(seen[name].removeprefix("rule ")), "name")
                yield ConfigError(
                    f"there are two rules called {name!r}", where=where, hint=f"The first is at {first}: rename one of them"
                )
                break


def _absences(config: Config, place: Place) -> Iterator[ConfigError]:
    """Rules on what does not come name what there is."""
    for number, rule in enumerate(config.rules):
        if rule.absence is None:
            continue
        key, named, known = "source", rule.absence.source, list(config.sources)
        if rule.absence.report:
            key, named, known = "report", rule.absence.report, list(config.reports)
        for name in named:
            if name != "all" and name not in known:
                where, hint = place("rules", number, "absence", key), near_miss(name, [*known, "all"], what="There are")
                yield ConfigError(f"there is no {key} {name!r}", where=where, hint=hint)


def _receivers(config: Config, place: Place) -> Iterator[ConfigError]:
    for name, job in config.reports.items():
        yield from _unknown(config, job.to, place, ("reports", name, "to"))
    for name, receiver in config.receivers.items():
        if receiver.fallback is not None:
            yield from _unknown(config, (receiver.fallback,), place, ("receivers", name, "fallback"), numbered=False)
        if _falls_back_to_itself(config, name):
            yield ConfigError(
                f"the fallbacks of {name!r} lead back to itself",
                where=place("receivers", name, "fallback"),
                hint="Let the last receiver of the chain have no fallback",
            )


def _unknown(
    config: Config, names: Sequence[str], place: Place, path: tuple[Key, ...], *, numbered: bool = True
) -> Iterator[ConfigError]:
    for number, name in enumerate(names):
        if name not in config.receivers:
            where = place(*path, number) if numbered else place(*path)
            yield ConfigError(
                f"there is no receiver {name!r}", where=where, hint=near_miss(name, config.receivers, what="Receivers")
            )


def _falls_back_to_itself(config: Config, name: str) -> bool:
    seen = set()
    at: str | None = name
    while at is not None and at in config.receivers and at not in seen:
        seen.add(at)
        at = config.receivers[at].fallback
    return at == name
