"""``kpid test``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kpid.cli.output import print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, Session, need_config, session_of


def run(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Files of rule tests, or folders of them (default: rules/tests)."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what was found of every test.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Try rules on figures written by hand: do they fire when they should, and only then, and who hears of it when?

    A file of tests, complete; the README has all that can stand in it:

    \b
    rules: [../sales.yml]
    routes:
      - match: {rule: win-rate-low}
        to: [team]
        group_wait: 0s
        repeat: off
        escalate: [{after: 4h, to: ["team:cso@example.com"]}]
    tests:
      - name: the escalation stops when somebody takes it up
        rule: win-rate-low
        start: 2026-01-01
        series: [{owner: ada, value: 0.45 0.33x2, n: 60}]
        do:
          - {at: 2, after: 2h, ack: ada, by: ben, until: 40d}
        expect:
          3: {ada: firing warn acked}
        notices:
          - {at: 2, kind: fired, level: warn, to: team}
    """  # noqa: D301 - the backspace tells the help to leave the lines as they are
    from kpid.commands.ruletest import FOLDER, run_tests  # noqa: PLC0415

    session = session_of(context, config)
    found = run_tests(files or [need_config(session).parent / FOLDER], _config(session))
    if format == "json":
        print_json(found)
    else:
        for one in found["tests"]:
            _tell(one, verbose=verbose)
        say(f"{found['passed']} passed, {found['failed']} failed")
    return 1 if found["failed"] else 0


def _config(session: Session) -> Path | None:
    """The configuration; None if there is none and nobody has asked for one."""
    return need_config(session) if session.explicit or session.config_file.is_file() else None


def _tell(one: dict[str, Any], *, verbose: bool) -> None:
    if one["passed"] and not verbose:
        return
    say(f"{'ok' if one['passed'] else 'FAILED'}  {one['name']}  ({one['where']}, rule {one['rule']})")
    for difference in one["differences"]:
        say(f"  {difference}")
    rows = [{**line, "events": ", ".join(line["events"])} for line in one["lines"]]
    say("")
    print_rows(rows, dict.fromkeys(("at", "period", "segment", "state", "events", "reason")), none="nothing was judged")
    say("")
