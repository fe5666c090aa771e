"""``kpid preview``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kpid.cli.output import print_json, print_rows, progress_shown, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

_OPEN = {"firing", "recovering", "pending"}


def preview(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(help="Name of the rule.")],
    at: Annotated[str | None, typer.Option("--at", metavar="ISO", help="As it would have been at this instant, or day.")] = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """What a rule would send now, to whom, by which route, and what would hold it back. Sends and writes nothing."""
    with progress_shown() as progress:
        found = perform(session_of(context, config), "preview", progress=progress, rule=rule, at=at)
    if format == "json":
        print_json(found)
        return 0
    _tell(found)
    return 0


def _tell(found: dict[str, Any]) -> None:
    if not found["period"]:
        say(f"{found['rule']}: nothing has come due since it was last judged, and nothing would be sent")
        say(f"`kpid preview {found['rule']} --at DAY` shows what would have been sent then")
        return
    say(f"{found['rule']}, {found['period']}, {found['judged']}")
    for number, one in enumerate(found["messages"], 1):
        say("")
        say(f"--- message {number} of {len(found['messages'])}: {_address(one)} ({one['route']})")
        if one["held"]:
            say(f"--- {one['held']}")
        if one["wait"]:
            say(f"--- waits {one['wait']:g} s for others of its group")
        say(one["title"])
        say("")
        say(one["text"].rstrip())
    for one in found["missing"]:
        say(f"--- {one['who']} cannot be told: {one['why']}")
    say("" if found["messages"] else "nothing would be sent")
    shown = [one for one in found["series"] if one["status"] in _OPEN]
    well = len(found["series"]) - len(shown)
    print_rows(shown, dict.fromkeys(("segment", "status", "level", "reason")), none="no series fires or is pending")
    if shown and well:
        say(f"and {well} that are well")


def _address(one: dict[str, Any]) -> str:
    if not one["recipients"]:
        return f"{one['receiver']}: there is no such receiver"
    return f"{one['receiver']} to {', '.join(one['recipients'])}"
