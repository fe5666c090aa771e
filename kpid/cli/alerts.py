"""``kpid alerts``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import typer

from kpid.cli.output import minute, print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

Status: TypeAlias = Literal["firing", "recovering", "pending", "ok", "forgotten"]
app = typer.Typer(help="What fires, and the story of an episode.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option("--status", help="Only these.")] = None,
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
    columns = dict.fromkeys(("rule", "segment", "status", "level", "episode", "slot", "reason")) | {"slot": minute}
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
    say("")
    print_rows(_story(story), dict.fromkeys(("period", "judged", "found", "event")), none="it never fired")
    say("")
    columns = dict.fromkeys(("id", "receiver", "recipient", "state", "done at", "title")) | {"done at": minute}
    print_rows(story["notices"], columns, none="nobody was told")
    return 0


def _story(story: dict[str, Any]) -> list[dict[str, str]]:
    """What was found of each period and what came of it, in the order of time."""
    events: dict[str, list[dict[str, Any]]] = {}
    for one in story["events"]:
        events.setdefault(one["slot"], []).append(one)
    lines = [
        (
            one["slot"],
            one["period_label"],
            one["outcome"].get("reason", ""),
            [event["kind"] for event in events.pop(one["slot"], ())],
        )
        for one in story["evaluations"]
    ]
    lines += [(slot, "", told[-1]["body"].get("reason", ""), [one["kind"] for one in told]) for slot, told in events.items()]
    return [
        {"period": period, "judged": minute(slot), "found": found, "event": ", ".join(kinds)}
        for slot, period, found, kinds in sorted(lines, key=lambda line: line[0])
    ]
