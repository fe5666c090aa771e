"""What people were told in a rule test with steps, and what not, against what the test expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from kpid.alerting.deeds import instant_of
from kpid.alerting.enacting import Enactment
from kpid.alerting.facts import series_key_of
from kpid.alerting.ruleresults import Line, TestedRule
from kpid.alerting.ruletests import RuleTest
from kpid.alerting.scenes import Stage
from kpid.alerting.stage_setup import address_of
from kpid.alerting.stage_store import clear, empty_store
from kpid.alerting.steps import ExpectedNotice, Untold
from kpid.store.notices import DROPPED, WAITING
from kpid.store.tables import notices, outbox

_WHOLE = "the rule"
_LINE = "; "


class Theatre:
    """Where a file's tests are played, on one store in memory that is empty for each. To be closed at the end of a block."""

    def __init__(self) -> None:
        self._store = empty_store()

    def __enter__(self) -> Theatre:
        return self

    def __exit__(self, *error: object) -> None:
        self._store.close()

    def play(self, stage: Stage, number: int, test: RuleTest) -> TestedRule:
        """Play a test, and compare what was found and told.

        Raises:
            ConfigError: it cannot be read.
        """
        clear(self._store)
        enactment = Enactment(stage, number, test, self._store)
        enactment.play()
        tellings = Tellings(enactment)
        differences = (*enactment.found.differences, *tellings.differences())
        lines = sorted((*enactment.found.lines, *tellings.lines()), key=lambda one: one[0])
        where = stage.suite.place("tests", number)
        return TestedRule(test.name, test.rule, where, differences, tuple(line for _, line in lines))


@dataclass
class Told:
    """One thing that people were told at one instant, of one series: through which messages, to whom."""

    instant: datetime
    place: int
    rule: str
    kind: str
    level: str
    segment: str
    held: str = ""
    to: set[str] = field(default_factory=set)
    messages: set[int] = field(default_factory=set)


@dataclass
class Tellings:
    """All that was told in a test, after it was played."""

    played: Enactment
    told: list[Told] = field(init=False)
    together: dict[int, list[str]] = field(default_factory=dict)
    """The series that each message tells of."""

    def __post_init__(self) -> None:
        names = self._names()
        found: dict[tuple[Any, ...], Told] = {}
        with self.played.store.read() as conn:
            rows = conn.execute(select(outbox).order_by(outbox.c.id)).all()
        for row in rows:
            for item in row.message["facts"]["items"]:
                segment = names.get(item["series"], item["series"])
                key = (row.created_at, item["rule"], item["series"], item["kind"], item["level"])
                place = self.played.found.place_of(row.created_at)
                facts = (row.created_at, place, item["rule"], item["kind"], item["level"], segment)
                one = found.setdefault(key, Told(*facts, held=item["held"]))
                one.to |= set(self._called(row.receiver, row.recipient))
                one.messages.add(row.id)
                self.together.setdefault(row.id, []).append(segment)
        self.told = list(found.values())

    def lines(self) -> Iterator[tuple[datetime, Line]]:
        """What was told, for people."""
        for one in self.told:
            held = f", {one.held}" if one.held else ""
            others = max((len(self.together[message]) for message in one.messages), default=1) - 1
            beside = f", with {others} more in one message" if others else ""
            what = f"to {', '.join(sorted(one.to))}{beside}{held}"
            told = (f"told: {one.kind}",)
            yield one.instant, Line(one.place, self.played.found.when(one.instant), one.segment or _WHOLE, one.level, told, what)

    def differences(self) -> Iterator[str]:
        """What is not as expected."""
        test = self.played.test
        if test.notices is not None:
            yield from self._compare(test.notices)
        if test.untold is not None:
            yield from self._compare_untold(test.untold)

    def _compare(self, expected: Iterable[ExpectedNotice]) -> Iterator[str]:
        left = list(self.told)
        for wanted in expected:
            found = self._match(wanted, left)
            if not found:
                near = _LINE.join(self._text(one) for one in left if self._is_about(one, wanted)) or "nobody was told anything"
                yield f"notices: expected {_wanted(wanted)}; {near}"
                continue
            for one in found:
                left.remove(one)
                strange = [way for way in wanted.to if way not in one.to]
                if strange:
                    yield f"notices: {self._text(one)}: expected to {', '.join(strange)}, it goes to {', '.join(sorted(one.to))}"
                if wanted.held is not None and f"held back by {wanted.held}" not in one.held:
                    yield f"notices: {self._text(one)}: expected held back by {wanted.held}, found {one.held or 'told at once'}"
        yield from (f"notices: not expected: {self._text(one)}, to {', '.join(sorted(one.to))}" for one in left)

    def _match(self, wanted: ExpectedNotice, left: list[Told]) -> list[Told]:
        """What is meant: one thing, or several in one message and nothing else in it."""
        fits = [one for one in left if self._fits(one, wanted)]
        if wanted.segment is None or len(wanted.segment) == 1:
            return [one for one in fits if wanted.segment in {None, (one.segment,)}][:1]
        for message in sorted({message for one in fits for message in one.messages}):
            mine = [one for one in fits if message in one.messages]
            if sorted(self.together[message]) == sorted(wanted.segment) == sorted(one.segment for one in mine):
                return mine
        return []

    def _fits(self, one: Told, wanted: ExpectedNotice) -> bool:
        alike = one.kind == wanted.kind and wanted.level in {None, one.level} and wanted.rule in {None, one.rule}
        return alike and self._is_then(one.instant, wanted)

    def _is_then(self, instant: datetime, wanted: ExpectedNotice) -> bool:
        if wanted.after is not None or isinstance(wanted.at, datetime):
            return instant == instant_of(wanted.at, wanted.after, self.played.scene, self.played.setup.calendar)
        if wanted.at > len(self.played.scene.periods):
            return False
        first, last = self.played.found.span_of(wanted.at)
        return first <= instant and (last is None or instant < last)

    def _is_about(self, one: Told, wanted: ExpectedNotice) -> bool:
        if isinstance(wanted.at, datetime):
            return one.kind == wanted.kind
        return one.place == wanted.at

    def _compare_untold(self, expected: Iterable[Untold]) -> Iterator[str]:
        left = list(self._untold())
        for wanted in expected:
            found = next((one for one in left if _is_untold(one, wanted)), None)
            if found is None:
                yield f"untold: expected {_untold_text(wanted)}; {_LINE.join(map(_untold_text, left)) or 'all was told'}"
            else:
                left = [one for one in left if not (_is_untold(one, wanted) and one == found)]
        yield from (f"untold: not expected: {_untold_text(one)}" for one in left)

    def _untold(self) -> Iterator[Untold]:
        """What waits or was given up, each once whatever its destinations."""
        names = self._names()
        with self.played.store.read() as conn:
            rows = conn.execute(select(notices).where(notices.c.state.in_((WAITING, DROPPED))).order_by(notices.c.id)).all()
        seen = set()
        for row in rows:
            by = row.why or row.held_by or "it waits for its time"
            key = (row.kind, row.rule_uid, row.series_key, row.slot, by)
            if key not in seen:
                seen.add(key)
                yield Untold.model_validate(
                    {"kind": row.kind, "rule": row.rule_uid, "segment": names.get(row.series_key, ""), "by": by}
                )

    def _names(self) -> Mapping[str, str]:
        """What the test calls each series, by its key; of the same segment of several rules alike."""
        return {series_key_of(dims): label for scene in self.played.scenes for dims, label in scene.names.items()}

    def _called(self, receiver: str, recipient: str) -> Iterator[str]:
        """All that a test may call a destination."""
        if recipient in {"", receiver}:
            yield receiver
            return
        yield f"{receiver}:{recipient}"
        owners = self.played.setup.owners
        if owners is not None and receiver == owners.via:
            people = {part.id or "" for scene in self.played.scenes for dims in scene.names for part in dims}
            yield from ("owner" for person in people if recipient == address_of(person))
            yield from ("manager" for person in people if recipient == address_of(person, manager=True))

    def _text(self, one: Told) -> str:
        level = "" if one.level == "none" else f" {one.level}"
        return f"{one.kind}{level} of {one.segment or _WHOLE} at {one.place} ({self.played.found.when(one.instant)})"


def _wanted(wanted: ExpectedNotice) -> str:
    level, segment = (f" {wanted.level}" if wanted.level else "", f" of {' and '.join(wanted.segment)}" if wanted.segment else "")
    at = wanted.at if isinstance(wanted.at, int) else f"{wanted.at:%Y-%m-%d %H:%M}"
    after = f" and {wanted.after}" if wanted.after else ""
    return f"{wanted.kind.value}{level}{segment} at {at}{after}"


def _is_untold(one: Untold, wanted: Untold) -> bool:
    return (
        one.kind == wanted.kind
        and wanted.segment in {None, one.segment}
        and wanted.rule in {None, one.rule}
        and wanted.by in one.by
    )


def _untold_text(one: Untold) -> str:
    return f"{one.kind.value}{f' of {one.segment}' if one.segment else ''} ({one.by})"
