"""``kpid ack``, ``unack``, ``snooze``, ``silence``, ``exclude``, ``why``, ``audit``: what people do about alerts."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer

from kpid.cli.measure import pairs
from kpid.cli.output import complain, minute, print_json, print_rows, say
from kpid.cli.session import ConfigOption, FormatOption, perform, session_of

silence_app = typer.Typer(help="Times in which some alerts say nothing.", no_args_is_help=True, rich_markup_mode=None)
Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of the alerts (`kpid alerts list`).")]
ByOption = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who does it (default: your user's name).")]
CommentOption = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Why.")]
UntilHelp = "Length of time (3d), day or instant; next: the next evaluation."


def me(by: str | None) -> str:
    """Who does it: as said, or the user who is logged in."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("this user has no name: say who does it with --as NAME") from None


def ack(
    context: typer.Context,
    ids: Ids,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help=f"{UntilHelp} Default: 7d.")] = None,
    comment: CommentOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Take alerts up: they are not repeated, and nobody else is called. A worse level is told all the same."""
    found = perform(session_of(context, config), "ack", ids=ids, by=me(by), until=until, comment=comment)
    return _told(found, format)


def snooze(
    context: typer.Context,
    ids: Ids,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help=UntilHelp)],
    comment: CommentOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Hear nothing of alerts for a while; then again, if they still fire."""
    return _told(perform(session_of(context, config), "snooze", ids=ids, by=me(by), until=until, comment=comment), format)


def unack(
    context: typer.Context,
    ids: Ids,
    comment: CommentOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Take an acknowledgement or a snooze back."""
    return _told(perform(session_of(context, config), "unack", ids=ids, by=me(by), comment=comment), format)


def _told(found: dict[str, Any], format: str) -> int:  # noqa: A002 - the option's name
    """Print what has changed; 1 if something has not."""
    if format == "json":
        print_json(found)
    else:
        for one in found["done"]:
            say(f"{one['id']}: {one['rule']} - {one['segment']}: {one['text']}")
        for one in found["left"]:
            complain(f"{one['id']}: {one['rule']} - {one['segment']}: left as it was: {one['why']}")
    return 1 if found["left"] else 0


@silence_app.command("add")
def silence_add(
    context: typer.Context,
    match: Annotated[list[str], typer.Argument(metavar="LABEL=TEXT...", help="rule=calls-low, team=sales, owner='!crm:17'.")],
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Length of time (8h), day or instant.")],
    comment: Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Why.")],
    by: ByOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Say nothing of alerts with these labels until then. They are judged all the same."""
    labels: dict[str, list[str]] = {}
    for name, text in pairs(match, "LABEL=TEXT"):
        labels.setdefault(name, []).append(text)
    found = perform(session_of(context, config), "silence", match=labels, until=until, comment=comment, by=me(by))
    if format == "json":
        print_json(found)
    else:
        say(f"silence {found['id']} lasts until {minute(found['until'])}")
    return 0


@silence_app.command("list")
def silence_list(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Silences that last."""
    found = perform(session_of(context, config), "silence list", everything=everything)
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("id", "matchers", "ends at", "author", "comment", "ended at"))
    print_rows(found, columns | {"matchers": _labels, "ends at": minute, "ended at": minute}, none="nothing is silenced")
    return 0


def _labels(matchers: dict[str, list[str]]) -> str:
    return ", ".join(f"{name}={'|'.join(texts)}" for name, texts in matchers.items())


@silence_app.command("end")
def silence_end(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Number of the silence.")],
    by: ByOption = None,
    config: ConfigOption = None,
) -> int:
    """End a silence before its time: what still fires is told."""
    perform(session_of(context, config), "silence end", number=number, by=me(by))
    say(f"silence {number} is over")
    return 0


def exclude(
    context: typer.Context,
    rule: Annotated[str | None, typer.Argument(help="Name of a rule, or id of a KPI.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day that does not count.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The day after the last one.")] = None,
    segment: Annotated[str | None, typer.Option("--segment", help="Only this one of the rule's series.")] = None,
    comment: CommentOption = "",
    number: Annotated[int | None, typer.Option("--end", metavar="ID", help="Let it count again.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="What does not count now.")] = False,
    by: ByOption = None,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Leave a span of time out of what is usual: an outage, a campaign. Nothing else changes."""
    session = session_of(context, config)
    if listed:
        found = perform(session, "exclude list")
        columns = dict.fromkeys(("id", "rule uid", "kpi", "segment", "starts at", "ends at", "author", "comment"))
        if format == "json":
            print_json(found)
        else:
            print_rows(found, columns | {"starts at": minute, "ends at": minute}, none="everything counts")
        return 0
    if number is not None:
        perform(session, "exclude end", number=number, by=me(by))
        say(f"{number} counts again")
        return 0
    if rule is None or start is None or end is None:
        raise typer.BadParameter("write RULE --from DAY --to DAY -m TEXT, or --end ID, or --list")
    done = perform(session, "exclude", rule=rule, start=start, end=end, segment=segment, comment=comment, by=me(by))
    if format == "json":
        print_json(done)
    else:
        say(f"{done['id']}: {minute(done['starts_at'])} to {minute(done['ends_at'])} does not count for {rule}")
    return 0


def audit(
    context: typer.Context,
    since: Annotated[str | None, typer.Option("--since", metavar="DAY", help="Not older than this.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="WHAT", help="Only this: episode:17, silence:3.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 200,
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Who did what about alerts, newest first. Nothing of it can be changed or deleted."""
    found = perform(session_of(context, config), "audit", since=since, subject=subject, limit=limit)
    if format == "json":
        print_json(found)
        return 0
    columns = dict.fromkeys(("at", "actor", "via", "action", "subject", "body")) | {"at": minute, "body": _body}
    print_rows(found, columns, none="nobody has done anything")
    return 0


def _body(body: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {text if isinstance(text, str | int) else json.dumps(text, ensure_ascii=False)}"
        for name, text in body.items()
        if text not in (None, "", {}, [])
    )


def why(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the alert (`kpid alerts list`).")],
    config: ConfigOption = None,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Why an alert fired: its figures, what is usual, the guards that it passed, and what moved it."""
    found = perform(session_of(context, config), "why", number=number)
    if format == "json":
        print_json(found)
        return 0
    say(f"{found['id']}: {found['rule']} - {found['segment']}: {found['level']} in {found['period']}")
    say(str(found["figures"].get("reason", "")))
    for line in found["said"]:
        say(line)
    if found["guards"]:
        say(f"guards: {_body(found['guards'])}")
    for warning in found["figures"].get("warnings", ()):
        say(f"note: {warning}")
    told = f"vs {found['moved_from']}: " if found["moved_from"] else ""
    for sentence in found["sentences"]:
        say(f"moved by: {told}{sentence}")
    say("")
    print_rows(found["slots"], dict.fromkeys(("period", "found")), none="no evaluation is written down")
    if found["newest"].get("period") not in {None, found["period"]}:
        say(f"newest: {found['newest']['period']}: {found['newest']['found']}")
    say(found["next"])
    return 0
