"""``kpid outbox``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

from kpid.cli.output import minute, print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

State: TypeAlias = Literal["ready", "sending", "sent", "dead", "hold"]
app = typer.Typer(help="Messages and their fate.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[State | None, typer.Option("--state", help="Only these.")] = None,
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
    """A message and every try of it."""
    found = perform(session_of(context, config), "outbox show", number=number)
    if format == "json":
        print_json(found)
        return 0
    say(f"{found['id']}: {found['title']}")
    say(f"to {found['receiver']}{found['recipient'] and ' ' + found['recipient']}, {found['state']}; about {found['origin']}")
    columns = dict.fromkeys(("attempt", "at", "result", "detail")) | {"at": minute}
    print_rows(found["attempts"], columns, none="never tried")
    return 0


@app.command()
def retry(
    context: typer.Context,
    numbers: Annotated[list[int] | None, typer.Argument(help="Ids of dead or held messages.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead message.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Try dead or held messages again, with a fresh budget."""
    if not numbers and not everything:
        raise typer.BadParameter("say which messages, or --all")
    done = perform(session_of(context, config), "outbox retry", numbers=numbers or [], all_dead=everything)
    return _print(done, "requeued", "will be tried again", format)


@app.command()
def hold(
    context: typer.Context,
    numbers: Annotated[list[int], typer.Argument(help="Ids of messages that wait to be sent.")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Keep messages back until they are released."""
    done = perform(session_of(context, config), "outbox hold", numbers=numbers)
    return _print(done, "held", "held back", format)


@app.command()
def release(
    context: typer.Context,
    numbers: Annotated[list[int], typer.Argument(help="Ids of held messages.")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Let held messages go."""
    done = perform(session_of(context, config), "outbox release", numbers=numbers)
    return _print(done, "released", "will be sent", format)


@app.command()
def dismiss(
    context: typer.Context,
    numbers: Annotated[list[int], typer.Argument(help="Ids of dead or held messages.")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Let dead or held messages rest: `kpid doctor` speaks of them no more."""
    done = perform(session_of(context, config), "outbox dismiss", numbers=numbers)
    return _print(done, "dismissed", "dismissed", format)


def _print(done: dict[str, list[int]], key: str, what: str, form: str) -> int:
    if form == "json":
        print_json(done)
        return 0
    count = len(done[key])
    say(f"{count} {'message' if count == 1 else 'messages'} {what}")
    return 0
