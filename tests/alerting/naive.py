"""A second, deliberately naive state machine: it looks back over the whole history at each slot instead of keeping clocks.

Times are in periods only. Outcomes are letters: W, C breach of warn, critical; H hold; K clear; I insufficient; N no data;
S stale; E error; M missing; L clear at a new level.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

LETTERS = "WCHKINSEM"
SETTLING = "WCHKILM"
"""Those with which a new level matters."""


@dataclass(frozen=True)
class Naive:
    for_: int
    keep: int
    policy: str = "keep"
    after: int = 2
    expire: int = 3
    status: str = "ok"
    level: str = "none"
    episode: int = 0
    forgotten: bool = False
    fired_here: int = -1
    raw: str = ""
    effective: str = field(default="")
    """W, C, H, K as they count; ``.`` says nothing; ``|`` is an end."""

    def step(self, letter: str) -> tuple[Naive, list[str]]:
        raw = self.raw + letter
        seen = letter in "WCHKIL"
        now = replace(self, raw=raw, forgotten=self.forgotten and not seen)
        on = now.status in ("firing", "recovering")
        if letter in "NS" and now.policy in ("fire", "ok") and _trailing(raw, "NS", skip="ME") >= now.after:
            if now.policy == "fire":
                return now.breach("C" if on and now.level == "critical" else "W")
            return now.end(letter == "", ["expired"] if on else [])
        if letter == "M" and not now.forgotten and _trailing(raw, "M", skip="NSE") >= now.expire:
            ended, events = now.end(True, ["expired"] if on else [])
            return replace(ended, raw=raw + "|"), events
        if letter in "INSEM":
            return replace(now, effective=now.effective + "."), []
        if letter == "H":
            return now.hold()
        if letter in "KL":
            return now.clear("resolved" if letter == "K" else "new_level")
        return now.breach(letter)

    def end(self, forgotten: bool, events: list[str]) -> tuple[Naive, list[str]]:
        return replace(
            self, status="ok", level="none", forgotten=self.forgotten or forgotten, effective=self.effective + "|"
        ), events

    def hold(self) -> tuple[Naive, list[str]]:
        log = self.effective + "H"
        if self.status == "recovering":
            return replace(self, status="firing", effective=log), []
        if self.status == "firing":
            return replace(self, effective=log), []
        return replace(self, status="ok", level="none", effective=log), []

    def clear(self, end: str) -> tuple[Naive, list[str]]:
        log = self.effective + "K"
        if self.status in ("ok", "pending"):
            return replace(self, status="ok", level="none", effective=log), []
        clears = _trailing(log, "K", skip=".") if self.status == "recovering" else 1
        if clears - 1 >= self.keep:
            return replace(self, effective=log).end(False, [end])
        return replace(self, status="recovering", effective=log), []

    def breach(self, letter: str) -> tuple[Naive, list[str]]:
        log = self.effective + letter
        level = {"W": "warn", "C": "critical"}[letter]
        now = replace(self, effective=log, forgotten=False)
        if self.status == "firing":
            return now.again(letter, level)
        if self.status == "recovering":
            if level == "critical" and self.level == "warn":
                return replace(now, status="firing", level=level), ["escalated"]
            return replace(now, status="firing"), []
        needed = max(self.for_, 1)
        if _trailing(log, "WC", skip=".") < needed:
            return replace(now, status="pending", level=level), []
        held = "critical" if _trailing(log, "C", skip=".") >= needed else "warn"
        return replace(now, status="firing", level=held, episode=self.episode + 1, fired_here=len(log) - 1), ["fired"]

    def again(self, letter: str, level: str) -> tuple[Naive, list[str]]:
        if letter == "C" and self.level == "warn":
            since_fired = set(self.effective[self.fired_here :]) - {"."}
            has_begun_with_it = since_fired == {"C"}
            if has_begun_with_it and _trailing(self.effective, "C", skip=".") < max(self.for_, 1):
                return self, []
            return replace(self, level=level), ["escalated"]
        if letter == "W" and self.level == "critical" and _trailing(self.effective, "W", skip=".H") - 1 >= self.keep:
            return replace(self, level=level), ["eased"]
        return self, []


def _trailing(log: str, counted: str, skip: str) -> int:
    n = 0
    for letter in reversed(log):
        if letter in counted:
            n += 1
        elif letter not in skip:
            break
    return n
