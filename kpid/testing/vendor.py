"""What fakes of vendors have in common: tokens that expire, limits and budgets, rights, late clocks, paths that never answer.

Each is a switch that a test turns. A request is judged in this order: silent paths, token, limits, rights, route, planned faults.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kpid.clock import Clock
from kpid.testing.api import Answer, FakeApi, Request
from kpid.testing.clock import FakeClock, SkewedClock
from kpid.testing.crm import Crm

_ZERO = timedelta(0)


class Tokens:
    """The tokens of an account: given, expired after so many calls or seconds, revoked, rotated.

    Args:
        clock: says when a token is old.
        life_calls: calls that an access token is good for; None: any number.
        life_s: seconds that it is good for; None: for ever.
        rotate: each exchange gives a new refresh token and makes the old one void.
        refresh_token: the first refresh token.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        life_calls: int | None = None,
        life_s: float | None = None,
        rotate: bool = False,
        refresh_token: str = "refresh-fake-0",  # noqa: S107  opens nothing
    ) -> None:
        self._clock = clock
        self.life_calls = life_calls
        self.life_s = life_s
        self.rotate = rotate
        self.refresh_token = refresh_token
        self.given = 0
        """How many access tokens were given."""
        self.revoked = False
        """Nobody gets in any more, and no token is given."""
        self._access: str | None = None
        self._calls = 0
        self._given_at = clock.now()

    def exchange(self, refresh_token: str | None = None) -> str | None:
        """A new access token, which makes the last one void; None if the refresh token is not the newest, or all is revoked."""
        if self.revoked or (refresh_token is not None and refresh_token != self.refresh_token):
            return None
        self.given += 1
        self._access, self._calls, self._given_at = f"access-fake-{self.given}", 0, self._clock.now()
        if refresh_token is not None and self.rotate:
            self.refresh_token = f"refresh-fake-{self.given}"
        return self._access

    def expire(self) -> None:
        """The access token in use is refused from now on."""
        self._access = None

    def is_good(self, token: str) -> bool:
        """Whether a request with this access token gets in; counts it."""
        if self.revoked or self._access is None or token != self._access:
            return False
        if self.life_s is not None and (self._clock.now() - self._given_at).total_seconds() >= self.life_s:
            return False
        self._calls += 1
        return self.life_calls is None or self._calls <= self.life_calls


@dataclass
class Limit:
    """At most ``count`` requests in any span of ``per`` seconds, to paths that end in ``suffix``.

    ``pause``: seconds for which the vendor asks when it is passed.
    """

    count: int
    per: float
    name: str
    suffix: str = ""
    pause: float | None = None
    _sent: deque[float] = field(default_factory=deque, repr=False)

    def is_passed(self, request: Request, now: float) -> bool:
        """Count ``request``, unless it is one too many."""
        if not request.path.endswith(self.suffix):
            return False
        while self._sent and self._sent[0] <= now - self.per:
            self._sent.popleft()
        if len(self._sent) >= self.count:
            return True
        self._sent.append(now)
        return False


@dataclass
class Daily:
    """The account's requests of a day, with those of others in ``used``."""

    total: int
    used: int = 0

    @property
    def left(self) -> int:
        """What may still be asked today."""
        return max(0, self.total - self.used)

    def spend(self) -> None:
        """Use all of it up."""
        self.used = self.total


class VendorApi(FakeApi):
    """A fake of a vendor's API over a :class:`~kpid.testing.crm.Crm`. Subclasses add routes and say errors as the vendor does.

    Args:
        crm: what it serves; None = an empty one.
        clock: shared with the connector under test; None = the CRM's.
        strict_limits: count requests and answer as the vendor does when there are too many.
        limits: the documented ones.

    Attributes:
        tokens: None = nobody is asked for a token.
        daily: None = no budget.
        skew: the server's clock is ahead by this.
        forbidden: names (of kinds, objects) that the token may not read; see :meth:`scope_of`.
        silent: parts of requests (path, query or body) that never get an answer.
        hidden: fields (kind, name in the vendor's words) that are gone.
        renamed: names that the vendor shows instead of others (stages, pipelines).
        refused: names of the limits that were passed.
        calls_while_waiting: requests that came though the server had asked for a pause.
    """

    def __init__(
        self,
        crm: Crm | None = None,
        *,
        clock: Clock | None = None,
        strict_limits: bool = True,
        limits: tuple[Limit, ...] = (),
    ) -> None:
        given = clock or (crm.clock if crm is not None else FakeClock())
        super().__init__(given)
        self._true_clock = given
        self.crm = crm if crm is not None else self.empty_crm(given)
        self.limits = list(limits) if strict_limits else []
        self.tokens: Tokens | None = None
        self.daily: Daily | None = None
        self.forbidden: set[str] = set()
        self.silent: set[str] = set()
        self.hidden: set[tuple[str, str]] = set()
        self.renamed: dict[str, str] = {}
        self.refused: list[str] = []
        self.calls_while_waiting = 0
        self._waits_until: datetime | None = None

    @property
    def skew(self) -> timedelta:
        """The server's clock is ahead by this."""
        return self.clock.skew if isinstance(self.clock, SkewedClock) else _ZERO

    @skew.setter
    def skew(self, skew: timedelta) -> None:
        self.clock = SkewedClock(self._true_clock, skew)

    def empty_crm(self, clock: Clock) -> Crm:
        """The CRM of an account in which nothing has happened; with the vendor's ids."""
        return Crm(clock)

    def error(self, kind: str, request: Request) -> Answer:
        """An error in the vendor's words.

        Args:
            kind: ``token``, ``scope``, ``daily``, or a limit's name.
            request: what it is the answer to.
        """
        status = {"token": 401, "scope": 403}.get(kind, 429)
        return Answer(status, {"message": f"refused: {kind}"})

    def token_of(self, request: Request) -> str:
        """The access token that a request carries."""
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def needs_token(self, request: Request) -> bool:
        """Whether a request has to carry one: all but those to token endpoints and logins."""
        return True

    def scope_of(self, request: Request) -> str | None:
        """The name in :attr:`forbidden` that would forbid a request; the default finds names that are parts of its path."""
        parts = request.path.split("/")
        return next((name for name in sorted(self.forbidden) if name in parts), None)

    def answer(self, request: Request) -> Answer:
        """As any server, after a look at the switches."""
        refusal = self._refusal(request)
        if refusal is None:
            return super().answer(request)
        self.requests.append(request)
        return refusal

    def _refusal(self, request: Request) -> Answer | None:
        if self.silent and any(part in request.text() for part in self.silent):
            return Answer(manner="hang")
        needs = self.needs_token(request)
        if self.tokens is not None and needs and not self.tokens.is_good(self.token_of(request)):
            return self.error("token", request)
        if (passed := self._passed(request)) is not None:
            return passed
        return self.error("scope", request) if needs and self.scope_of(request) is not None else None

    def _passed(self, request: Request) -> Answer | None:
        """The answer to one request too many."""
        now = self._true_clock.now()
        if self._waits_until is not None and now < self._waits_until:
            self.calls_while_waiting += 1
        for limit in self.limits:
            if limit.is_passed(request, self._true_clock.monotonic()):
                self.refused.append(limit.name)
                if limit.pause is not None:
                    self._waits_until = now + timedelta(seconds=limit.pause)
                return self.error(limit.name, request)
        if self.daily is not None and not self.daily.left:
            self.refused.append("daily")
            return self.error("daily", request)
        if self.daily is not None:
            self.daily.used += 1
        return None


def shown(values: Mapping[str, Any], hidden: set[tuple[str, str]], kind: str) -> dict[str, Any]:
    """A record's fields without those that are gone."""
    return {name: value for name, value in values.items() if (kind, name) not in hidden}
