"""``kpid init``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kpid.cli.output import print_findings, say
from kpid.cli.session import Session, session_of

_CURRENCY = re.compile(r"[A-Z]{3}")


def init(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The configuration goes to DIR/config.")] = Path(),
    crm: Annotated[str, typer.Option("--crm", help="Where the data come from: sample, files, hubspot, sql.")] = "",
    receiver: Annotated[str, typer.Option("--receiver", help="How people are told: mailbox, email, slack, webhook.")] = "",
    pack: Annotated[str, typer.Option("--pack", metavar="NAMES", help="Rules to begin with: sales,support ... or all.")] = "",
    company: Annotated[str, typer.Option("--company", help="Your name in reports.")] = "",
    timezone: Annotated[str, typer.Option("--timezone", help="Zone of periods and schedules: Europe/Berlin.")] = "",
    currency: Annotated[str, typer.Option("--currency", help="ISO code: EUR.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take the first choice where no option says it.")] = False,
) -> int:
    """Write a configuration that works, by asking which CRM, which receiver and which rules. Overwrites nothing."""
    from kpid.sample.packs import Start, packs, receivers, sources, write_start  # noqa: PLC0415

    plain = Start()
    session = session_of(context, None)
    ask = _Asker(yes=yes)
    start = Start(
        source=ask.one("--crm", "Where do the data come from", crm, sources()),
        receiver=ask.one("--receiver", "How are people told", receiver, receivers()),
        packs=ask.several("--pack", "Which rules", pack, packs(), plain.packs),
        company=ask.text("--company", "What is your company called", company, plain.company, _no_control),
        timezone=ask.text("--timezone", "In which time zone", timezone, plain.timezone, _is_zone),
        currency=ask.text("--currency", "Which currency do reports have", currency, plain.currency, _is_currency),
    )
    folder = out / "config"
    written = write_start(folder, start)
    for file in written.files:
        say(f"wrote {file}")
    if start.source == sources()[0]:
        _write_data(session, folder)
    return _checked(folder / "kpid.yml", out, written.variables)


class _Asker:
    """Answers: from an option, from the person at the terminal, or the first choice."""

    def __init__(self, *, yes: bool) -> None:
        self.yes = yes

    def one(self, option: str, question: str, given: str, known: Sequence[str]) -> str:
        """One of several."""
        return self.several(option, question, given, known, known[:1], most=1)[0]

    def several(
        self, option: str, question: str, given: str, known: Sequence[str], usual: Sequence[str], most: int = 99
    ) -> tuple[str, ...]:
        """Some of several."""
        text = given or self._answer(option, f"{question}? {', '.join(known)}", ",".join(usual))
        chosen = tuple(
            known if text.strip() == "all" and most > 1 else (part.strip() for part in text.split(",") if part.strip())
        )
        strange = [name for name in chosen if name not in known]
        if strange or not 1 <= len(chosen) <= most:
            raise typer.BadParameter(f"{', '.join(strange) or text!r}: use {', '.join(known)}", param_hint=option)
        return tuple(dict.fromkeys(chosen))

    def text(self, option: str, question: str, given: str, usual: str, is_right: object) -> str:
        """A text that somebody judges."""
        text = given or self._answer(option, f"{question}?", usual)
        problem = is_right(text) if callable(is_right) else ""
        if problem:
            raise typer.BadParameter(problem, param_hint=option)
        return text

    def _answer(self, option: str, question: str, usual: str) -> str:
        if self.yes:
            return usual
        if not sys.stdin.isatty():
            raise typer.BadParameter(f"nobody is there to ask: say it, or use --yes for {usual}", param_hint=option)
        return str(typer.prompt(question, default=usual))


def _no_control(text: str) -> str:
    return "" if text.isprintable() else "letters that cannot be printed are in it"


def _is_zone(text: str) -> str:
    from zoneinfo import available_timezones  # noqa: PLC0415 - reads a folder

    return "" if text in available_timezones() else f"{text!r} is no time zone: write it such as Europe/Berlin"


def _is_currency(text: str) -> str:
    return "" if _CURRENCY.fullmatch(text) else f"{text!r} is no currency: write its ISO code, such as EUR"


def _write_data(session: Session, folder: Path) -> None:
    from kpid.sample import SEED, write_sample  # noqa: PLC0415

    data = folder / "var" / "sample"
    rows = write_sample(data, seed=SEED, now=session.clock().now())
    say(f"wrote {data}: {sum(rows.values()):,} rows of an invented company")


def _checked(file: Path, out: Path, variables: Mapping[str, str]) -> int:
    """What ``kpid check`` says, as if the variables were set; and what to do next."""
    from kpid.commands.check import check_config  # noqa: PLC0415
    from kpid.commands.plain import plain  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    loaded = load_config(file, environ={**variables, **os.environ})
    findings = [plain(one) for one in check_config(loaded, load_plugins())]
    print_findings([one for one in findings if not one["ok"]] or findings[:1])
    lacking = {name: value for name, value in variables.items() if name not in os.environ}
    say("next:")
    if out != Path():
        say(f"  cd {out}")
    for name, value in lacking.items():
        say(f"  export {name}=...   # such as {value}")
    say("  kpid check --connect")
    say("  kpid run --once")
    return 0 if all(one["ok"] or one.get("warning") for one in findings) else 1
