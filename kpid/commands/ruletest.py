"""``kpid test``: runs the tests that stand beside rules. Needs no store, no warehouse and no source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.rulechecks import RuleTester
from kpid.alerting.ruleresults import Line, TestedRule
from kpid.alerting.ruletests import read_suite
from kpid.alerting.windows import openings_of
from kpid.analysis.schedule import schedule_from_text
from kpid.config.load import Loaded, load_config
from kpid.config.model import Config
from kpid.config.problems import each_error, raise_errors
from kpid.config.times import calendar_of, work_calendars
from kpid.errors import ConfigError
from kpid.metrics.settings import settings_of
from kpid.metrics.written import with_own_kpis
from kpid.model import Notice
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Message
from kpid.registry import load_plugins

_ENDINGS = (".yml", ".yaml")
_LINE = Line._fields
_SOME_DAY = datetime(2026, 1, 5)  # noqa: DTZ001 - on the company's wall clock; how often something is expected depends on no day
FOLDER = Path("rules/tests")
"""Where tests are looked for if none are named: in the configuration's folder."""


def run_tests(files: Sequence[Path], config_file: Path | None) -> dict[str, Any]:
    """Run rule tests.

    Args:
        files: files of tests, or folders with such files.
        config_file: the configuration: zone, KPIs and their settings, rules. None: kpid's own KPIs, in UTC.

    Returns:
        ``passed`` and ``failed`` as numbers, and ``tests`` one by one, in the order of files.

    Raises:
        ConfigError: a file cannot be read, or holds mistakes: all are told.
    """
    loaded = load_config(config_file) if config_file is not None else None
    tester = RuleTester(setup_for_tests(loaded))
    rules = loaded.config.rules if loaded else ()
    results: list[tuple[Path, TestedRule]] = []
    errors: list[ConfigError] = []
    for file in _found(files):
        try:
            results.extend((file, one) for one in tester.run(read_suite(file, rules)))
        except ConfigError as error:
            errors.extend(each_error(error))
    raise_errors(errors)
    failed = sum(not one.passed for _, one in results)
    return {
        "passed": len(results) - failed,
        "failed": failed,
        "tests": [_told(file, one) for file, one in results],
    }


def _told(file: Path, one: TestedRule) -> dict[str, Any]:
    lines = [{**dict(zip(_LINE, line, strict=True)), "events": list(line.events)} for line in one.lines]
    return {
        "file": str(file),
        "name": one.name,
        "rule": one.rule,
        "where": one.where,
        "passed": one.passed,
        "differences": list(one.differences),
        "lines": lines,
    }


def _found(files: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        inside = sorted(path for path in file.iterdir() if path.suffix in _ENDINGS) if file.is_dir() else [file]
        if not inside:
            raise ConfigError("there are no rule tests in this folder", where=str(file), hint="Tests are files such as sales.yml")
        found.extend(inside)
    return found


def setup_for_tests(loaded: Loaded | None) -> AlertingSetup:
    """What judging needs, of the configuration alone."""
    config = loaded.config if loaded else Config.model_validate({"timezone": "UTC"})
    plugins = load_plugins(plugins_dir=config.plugins_dir, disabled=config.disabled_plugins)
    kpis: Mapping[str, Kpi] = (with_own_kpis(plugins, loaded) if loaded else plugins).kpis
    return AlertingSetup(
        rules=config.rules,
        kpis=kpis,
        calendar=calendar_of(config),
        recipients={},
        compose=_nothing,
        settings=settings_of(config, kpis),
        routes=config.routes,
        inhibit=config.inhibit,
        windows=openings_of(config.windows, work_calendars(config), config.timezone),
        owners=config.owners,
        flapping=config.flapping,
        calendars=work_calendars(config),
        expected=_expected(config),
    )


def _expected(config: Config) -> dict[str, timedelta]:
    """The usual time between two syncs of a source, or two reports: ``source:crm``, ``report:weekly``."""

    def between(every: str) -> timedelta:
        schedule = schedule_from_text(every, config.timezone)
        first = schedule.next(_SOME_DAY)
        return schedule.next(first) - first

    found = {f"source:{name}": between(source.every) for name, source in config.sources.items()}
    return found | {f"report:{name}": between(job.every) for name, job in config.reports.items()}


def _nothing(notice: Notice) -> Message:
    """Tests look at facts, not at letters."""
    return Message(key="", kind="alert", title=notice.rule, text="", created_at=notice.now)
