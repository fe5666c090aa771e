"""The command line: ``kpid COMMAND``. One file per group of commands; heavy imports happen inside the commands.

Exit codes: 0 well; 1 something is wrong; 2 wrong use; 75 another kpid holds the files; 78 wrong configuration, or files where
this user may not write.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from kpid import __version__
from kpid.cli import (
    alerts,
    backtest,
    check,
    compare,
    configuration,
    database,
    doctor,
    explain,
    forecast,
    handling,
    init,
    kpis,
    listings,
    measure,
    outbox,
    preview,
    report,
    restated,
    ruletest,
    run,
    sample,
    sources,
    sync,
)
from kpid.cli.output import complain
from kpid.cli.session import ConfigOption, Session, instant_option
from kpid.errors import BusyError, ConfigError, KpidError, PlaceError

WELL, WRONG, MISUSE, BUSY, MISCONFIGURED, STOPPED = 0, 1, 2, 75, 78, 130
GARBAGE = 100_000
"""New objects until Python looks for rubbish: modules and plugins stay, and to look through them is a third of the start."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kpid {__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    config: ConfigOption = None,
    now: Annotated[
        str | None, typer.Option("--now", metavar="ISO", help="Take this instant for now, e.g. 2018-01-02T08:00:00+01:00.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Print a trace with an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """KPI alerts and scheduled reports for CRM data."""
    context.obj = Session(file=config, now=instant_option(now), debug=debug)


def command_line() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="kpid",
        help="KPI alerts and scheduled reports for CRM data.",
        epilog="Exit codes: 0 well, 1 something is wrong, 2 wrong use, 75 another kpid holds the files, 78 wrong configuration.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.command("run")(run.run)
    app.command("check")(check.check)
    app.command("sync")(sync.sync)
    app.command("sources")(sources.sources)
    app.command("measure")(measure.measure)
    app.command("forecast")(forecast.forecast)
    app.command("compare")(compare.compare)
    app.command("restated")(restated.restated)
    app.command("explain")(explain.explain)
    app.command("test")(ruletest.run)
    app.command("backtest")(backtest.backtest)
    app.command("preview")(preview.preview)
    app.add_typer(kpis.app, name="kpis")
    app.add_typer(alerts.app, name="alerts")
    app.command("ack")(handling.ack)
    app.command("unack")(handling.unack)
    app.command("snooze")(handling.snooze)
    app.add_typer(handling.silence_app, name="silence")
    app.command("exclude")(handling.exclude)
    app.command("why")(handling.why)
    app.command("audit")(handling.audit)
    app.add_typer(report.app, name="report")
    app.add_typer(outbox.app, name="outbox")
    app.command("runs")(listings.runs)
    app.command("schedule")(listings.schedule)
    app.command("plugins")(listings.plugins)
    app.command("doctor")(doctor.doctor)
    app.add_typer(database.app, name="db")
    app.add_typer(configuration.app, name="config")
    app.command("sample")(sample.sample)
    app.command("init")(init.init)
    app.callback()(options)
    return app


app = command_line()


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        argv: arguments without the program's name; the process's own if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(GARBAGE, 20, 20)
    sys.exit(_exit_code(arguments, debug="--debug" in arguments))


def _exit_code(arguments: list[str], *, debug: bool) -> int:
    try:
        code = app(args=arguments, prog_name="kpid", standalone_mode=False)
    except KpidError as error:
        return _told(error, debug=debug)
    except (typer.Abort, KeyboardInterrupt):
        complain("stopped")
        return STOPPED
    except BrokenPipeError:
        sys.stderr.close()
        return WRONG
    except Exception as error:  # noqa: BLE001 - the top of the command line
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # wrong use
            error.show()
            return int(error.exit_code)
        return _unexpected(error, debug=debug)
    if code == STOPPED:  # Ctrl-C, caught below us
        complain("stopped")
    return code if isinstance(code, int) else WELL


def _told(error: KpidError, *, debug: bool) -> int:
    """The error as what, where, hint; its exit code."""
    if debug:
        traceback.print_exc()
    for one in getattr(error, "errors", (error,)):
        complain(f"{one.where}: {one.what}" if one.where else f"kpid: {one.what}")
        if one.hint:
            complain(f"  -> {one.hint}")
    match error:
        case BusyError():
            return BUSY
        case ConfigError() | PlaceError():
            return MISCONFIGURED
    return WRONG


def _unexpected(error: Exception, *, debug: bool) -> int:
    if isinstance(error, OSError) and error.filename:
        return _told(KpidError(error.strerror or str(error), where=str(error.filename)), debug=debug)
    if debug:
        traceback.print_exc()
    complain(f"kpid: this should not have happened: {type(error).__name__}: {error}")
    complain("  -> `kpid --debug ...` prints where; please report it")
    return WRONG
