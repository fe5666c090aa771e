"""``kpid alerts``."""

from __future__ import annotations

from typing import Annotated

import typer

from kpid.cli.output import print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

app = typer.Typer(help="What fires, and the story of an episode.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[str | None, typer.Option("--status", help="firing, recovering, pending, ok ...")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only this rule's.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are well, too.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Series that fire, recover or are pending; worst first."""
    found = perform(session_of(context, config), "alerts list", status=status, rule=rule, everything=everything)
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("rule", "segment", "status", "level", "episode", "slot", "reason"))
    print_rows(found, columns, none="no alert is firing or pending")
    return 0


@app.command()
def show(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(help="Name of the rule.")],
    segment: Annotated[str | None, typer.Option("--segment", help="Which of its series; the worst if left out.")] = None,
    episode: Annotated[int | None, typer.Option("--episode", help="Number of the episode; the latest if left out.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """The whole story of an episode: evaluations, events, messages."""
    story = perform(session_of(context, config), "alerts show", rule=rule, segment=segment, episode=episode)
    if format == "json":
        print_json(story)
        return 0
    say(f"{story['rule']} - {story['segment']}: {story['status']}, level {story['level']}, episode {story['episode']}")
    say(story["reason"])
    judged = [one | {"found": one["outcome"].get("reason", "")} for one in story["evaluations"]]
    print_rows(judged, dict.fromkeys(("slot", "period label", "found")), none="no evaluations are kept of it")
    happened = [one | {"reason": one["body"].get("reason", "")} for one in story["events"]]
    print_rows(happened, dict.fromkeys(("slot", "kind", "reason")), none="it never fired")
    print_rows(story["notices"], dict.fromkeys(("id", "receiver", "recipient", "state", "title")), none="nobody was told")
    return 0
