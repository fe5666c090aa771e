"""``kpid outbox``."""

from __future__ import annotations

from typing import Annotated

import typer

from kpid.cli.output import print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

app = typer.Typer(help="Messages and their fate.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option("--state", help="ready, sending, sent, dead or hold.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Messages, newest first."""
    found = perform(session_of(context, config), "outbox list", state=state, limit=limit)
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("id", "state", "attempt", "receiver", "recipient", "title", "last error"))
    print_rows(found, columns, none="no messages")
    return 0


@app.command()
def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Id of the message.")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Every try of one message."""
    found = perform(session_of(context, config), "outbox show", number=number)
    if format == "json":
        print_json(found)
        return 0
    print_rows(found["attempts"], dict.fromkeys(("attempt", "at", "finished at", "result", "detail")), none="never tried")
    return 0


@app.command()
def retry(
    context: typer.Context,
    numbers: Annotated[list[int] | None, typer.Argument(help="Ids of dead or held messages.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead message.")] = False,
    config: ConfigOption = None,
) -> int:
    """Try dead or held messages again, with a fresh budget."""
    if not numbers and not everything:
        raise typer.BadParameter("say which messages, or --all")
    done = perform(session_of(context, config), "outbox retry", numbers=numbers or [], all_dead=everything)
    say(f"{len(done['requeued'])} messages will be tried again")
    return 0


@app.command()
def release(
    context: typer.Context,
    numbers: Annotated[list[int], typer.Argument(help="Ids of held messages.")],
    config: ConfigOption = None,
) -> int:
    """Let held messages go."""
    done = perform(session_of(context, config), "outbox release", numbers=numbers)
    say(f"{len(done['released'])} messages will be sent")
    return 0
