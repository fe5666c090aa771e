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
    names = ("id", "rule", "segment", "status", "level", "slot", "reason", "handling")
    columns = dict.fromkeys(names if any(one["handling"] for one in found) else names[:-1]) | {"slot": minute}
    print_rows(found, columns, none="no alert is firing or pending")
    return 0


@app.command()
def show(
    context: typer.Context,
    alert: Annotated[str, typer.Argument(metavar="ID|RULE", help="Number of the alert, or name of its rule.")],
    segment: Annotated[str | None, typer.Option("--segment", help="Which of its series; the worst if left out.")] = None,
    episode: Annotated[int | None, typer.Option("--episode", help="Number of the episode; the latest if left out.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """The whole story of an episode: evaluations, events, who was told and who was not, each try, what people did."""
    chosen: dict[str, Any] = {"rule": alert, "segment": segment, "episode": episode}
    if alert.isascii() and alert.isdigit() and segment is None and episode is None:
        chosen = {"number": int(alert)}
    story = perform(session_of(context, config), "alerts show", **chosen)
    if format == "json":
        print_json(story)
        return 0
    number = f"{story['id']}: " if story["id"] else ""
    say(f"{number}{story['rule']} - {story['segment']}: {story['status']}, level {story['level']}, episode {story['episode']}")
    for line in (story["reason"], story["handling"]):
        if line:
            say(line)
    say("")
    print_rows(_story(story), dict.fromkeys(("period", "judged", "found", "event")), none="it never fired")
    say("")
    _print_told(story)
    return 0


def _print_told(story: dict[str, Any]) -> None:
    """Who was told, when and how; who was not, and why; what people did."""
    columns = dict.fromkeys(("id", "receiver", "recipient", "state", "done at", "title")) | {"done at": minute}
    print_rows(story["notices"], columns, none="nobody was told")
    tries = [
        {"message": one["id"], **each, "receipt": one["provider_id"] if each["result"] == "sent" else ""}
        for one in story["notices"]
        for each in one["attempts"]
    ]
    if tries:
        say("")
        columns = dict.fromkeys(("message", "attempt", "at", "result", "detail", "receipt")) | {"at": minute}
        print_rows(tries, columns, none="")
    held = [one for one in story["told"] if one["state"] != "sent"]
    if held:
        say("")
        columns = dict.fromkeys(("kind", "receiver", "recipient", "state", "held by", "why", "not before"))
        print_rows(held, columns | {"not before": minute}, none="")
    if story["audit"]:
        say("")
        columns = dict.fromkeys(("at", "actor", "via", "action", "comment")) | {"at": minute}
        print_rows([{**one, "comment": one["body"].get("comment", "")} for one in story["audit"]], columns, none="")


def _story(story: dict[str, Any]) -> list[dict[str, str]]:
    """What was found of each period and what came of it, in the order of time."""
    events: dict[str, list[dict[str, Any]]] = {}
    for one in story["events"]:
        events.setdefault(one["slot"], []).append(one)
    lines = [
        (
            one["slot"],
            one["period_label"],
            _found(one["outcome"]),
            [event["kind"] for event in events.pop(one["slot"], ())],
        )
        for one in story["evaluations"]
    ]
    lines += [(slot, "", told[-1]["body"].get("reason", ""), [one["kind"] for one in told]) for slot, told in events.items()]
    return [
        {"period": period, "judged": minute(slot), "found": found, "event": ", ".join(kinds)}
        for slot, period, found, kinds in sorted(lines, key=lambda line: line[0])
    ]


def _found(outcome: dict[str, Any]) -> str:
    """What was found of a period, with what it was compared with and how sure that is, where the reason does not say so."""
    text = str(outcome.get("reason") or "")
    more = [str(warning) for warning in outcome.get("warnings", ()) if "restated from " in warning]
    if outcome.get("baseline") is not None and outcome.get("baseline_label"):
        more.append(f"{outcome['baseline_label']} {outcome['baseline']}")
    if outcome.get("p") is not None:
        more.append(f"p {float(outcome['p']):.3g}")
    return f"{text} [{', '.join(more)}]" if more else text
