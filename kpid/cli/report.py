"""``kpid report``."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer

from kpid.cli.output import print_json, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

app = typer.Typer(help="Write or send a report by hand.", no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(help="Name of the configured report.")]
PeriodOption = Annotated[str | None, typer.Option("--period", help="2017-W50, 2017-12 ...; the last complete one if left out.")]


@app.command()
def render(
    context: typer.Context,
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if missing.")],
    period: PeriodOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Write a report as files: HTML, text, mail and pictures. Sends nothing."""
    contents = perform(session_of(context, config), "report render", name=name, period=period)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for file_name, content in contents.items():
        (out / file_name).write_bytes(base64.b64decode(content))
        files.append(str(out / file_name))
    if format == "json":
        print_json(files)
        return 0
    for file in files:
        say(file)
    return 0


@app.command()
def send(
    context: typer.Context,
    name: NameArgument,
    period: PeriodOption = None,
    to: Annotated[list[str] | None, typer.Option("--to", help="Receiver instead of the configured ones; repeatable.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Put a report into the outbox now and deliver it."""
    done = perform(session_of(context, config), "report send", name=name, period=period, to=to)
    if format == "json":
        print_json(done)
        return 0
    say(f"messages about {done['period']} put into the outbox: {done['enqueued']}; sent: {done['sent']}")
    return 0
