"""``kpid doctor``."""

from __future__ import annotations

import typer

from kpid.cli.output import print_findings, print_json
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of


def doctor(
    context: typer.Context,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What is wrong and what to do: stale sources, dead messages, odd data, broken plugins, abandoned runs."""
    found = perform(session_of(context, config), "doctor")
    if format == "json":
        print_json(found)
    else:
        print_findings(found)
    return 0 if all(one["ok"] for one in found) else 1
