"""What every notifier that speaks HTTP must keep, as a class of tests: subclass :class:`NotifierContract` and give it a bench."""

# ruff: noqa: D102  the names of the tests say what they look at
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from kpid.errors import DeliveryError
from kpid.plugin import Message, Notifier, Receipt, Section
from kpid.testing import faults
from kpid.testing.api import FakeApi, Fault, Request
from kpid.testing.clock import START
from kpid.testing.expecting import expect, expect_error

HOSTILE = '<!channel> <@U1> <https://evil.example.com|click> &amp; "quoted" \\ </script><b>bold</b> {{7*7}} \u202e\x00 ünï 💥'
"""A text as somebody may write it into a CRM."""

MESSAGE = Message(
    key="k" * 64,
    kind="alert",
    title="Win rate is low",
    text="Win rate is 31 % (threshold 40 %).",
    created_at=START,
    sections=(Section("headline", "Win rate is low"), Section("facts", pairs=(("Win rate", "31 %"), ("Threshold", "< 40 %")))),
    facts={"kpi": "win_rate", "value": "0.31"},
    status="firing",
)
"""An invented alert."""


class NotifierBench(ABC):
    """A notifier under test, and a fake of the service that it talks to.

    Attributes:
        api: the fake, accepting messages unless faults are planned on it.
        secrets: texts that must not appear in any error.
        statuses: what each status means to this service: the message is ``sent``, ``refused`` for good, or to ``retry``.
        forbidden: what must never be in a request's body when the hostile text was in the message.
        max_bytes: largest body that the service takes.
    """

    api: FakeApi
    secrets: tuple[str, ...]
    statuses: Mapping[int, Literal["sent", "refused", "retry"]]
    forbidden: tuple[str, ...] = ()
    max_bytes: int = 1_000_000

    @abstractmethod
    def notifier(self, *, reachable: bool = True) -> Notifier[Any]:
        """A notifier that talks to the fake with a read time-out of well under a second; or to nobody at all."""

    def message(self) -> Message:
        """The message to send."""
        return MESSAGE

    @abstractmethod
    def texts(self, request: Request) -> str:
        """What people would read of a request, in one text."""


class NotifierContract:
    """The tests. ``bench`` is a fixture of the subclass that gives a :class:`NotifierBench`."""

    def test_an_accepted_message_gives_a_receipt(self, bench: NotifierBench) -> None:
        expect(isinstance(self._send(bench), Receipt), "no receipt")
        expect(len(bench.api.requests) >= 1, "nothing was sent")
        expect(bench.message().title in bench.texts(bench.api.requests[-1]), "the title did not arrive")

    def test_every_status_means_what_the_table_says(self, bench: NotifierBench) -> None:
        for status, meaning in bench.statuses.items():
            bench.api.fail(faults.status(status), times=1)
            if meaning == "sent":
                self._send(bench)
                continue
            error = self._refused(bench)
            expect(error.permanent == (meaning == "refused"), f"status {status} should be {meaning}: {error}")
            expect(not error.unknown, f"status {status} is an answer, not an unknown outcome")

    def test_the_pause_that_a_service_asks_for_is_passed_on(self, bench: NotifierBench) -> None:
        bench.api.fail(faults.limited("37"))
        error = self._refused(bench)
        expect(error.retry_after is not None and error.retry_after.total_seconds() == 37, f"retry_after is {error.retry_after}")
        expect(not error.permanent, "a limit is no refusal for good")

    def test_a_lost_answer_is_an_unknown_outcome(self, bench: NotifierBench) -> None:
        lost: tuple[Fault, ...] = (faults.reset(), faults.silence())
        for fault in lost:
            before = len(bench.api.requests)
            bench.api.fail(fault)
            error = self._refused(bench)
            expect(error.unknown and not error.permanent, f"a lost answer must be unknown: {error}")
            expect(len(bench.api.requests) == before + 1, "a message whose fate is unknown was sent again")

    def test_a_service_that_cannot_be_reached_is_worth_another_try(self, bench: NotifierBench) -> None:
        error = self._refused(bench, reachable=False)
        expect(not error.unknown and not error.permanent, f"nothing was sent, so the outcome is known: {error}")

    def test_hostile_text_does_no_harm(self, bench: NotifierBench) -> None:
        sections = (Section("headline", HOSTILE), Section("text", HOSTILE), Section("facts", pairs=((HOSTILE, HOSTILE),)))
        self._send(bench, replace(bench.message(), title=HOSTILE, text=HOSTILE, sections=sections))
        body = bench.api.requests[-1].body.decode()
        found = [text for text in bench.forbidden if text in body]
        expect(not found, f"the body holds {found}")

    def test_an_over_long_text_is_cut_not_refused(self, bench: NotifierBench) -> None:
        long = "A very long line. " * 20_000
        sections = (Section("headline", long), *(Section("text", long) for _ in range(80)))
        self._send(bench, replace(bench.message(), title=long, text=long, sections=sections))
        size = len(bench.api.requests[-1].body)
        expect(size <= bench.max_bytes, f"the body has {size} bytes")

    def test_no_error_tells_a_secret(self, bench: NotifierBench) -> None:
        for status in (400, 401, 403, 404, 500):
            bench.api.fail(faults.status(status, {"message": " ".join(bench.secrets), "error": " ".join(bench.secrets)}))
            self._look_for_secrets(bench, self._refused(bench))
        bench.api.fail(faults.reset())
        self._look_for_secrets(bench, self._refused(bench))
        self._look_for_secrets(bench, self._refused(bench, reachable=False))

    # -- what the tests share ------------------------------------------------------------------------------------------------

    def _send(self, bench: NotifierBench, message: Message | None = None, *, reachable: bool = True) -> Receipt:
        notifier = bench.notifier(reachable=reachable)
        try:
            return notifier.send(message or bench.message())
        finally:
            notifier.close()

    def _refused(self, bench: NotifierBench, *, reachable: bool = True) -> DeliveryError:
        with expect_error(DeliveryError) as caught:
            self._send(bench, reachable=reachable)
        error = caught[0]
        expect(isinstance(error, DeliveryError), "not a DeliveryError")
        return error  # type: ignore[return-value]

    def _look_for_secrets(self, bench: NotifierBench, error: BaseException | None) -> None:
        while error is not None:
            text = f"{error!s} {error!r} {vars(error)}"
            expect(not any(secret in text for secret in bench.secrets), "an error tells a secret")
            error = error.__cause__ or error.__context__
