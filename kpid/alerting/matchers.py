"""What an alert is called by, and whether it is meant: the labels that routes, silences and inhibitions look at. Pure.

A label may have several values: a segment is known by its id and by its name, a KPI may be fed by several sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from kpid.model import Notice, NoticeItem

Labels: TypeAlias = Mapping[str, frozenset[str]]
Names: TypeAlias = Mapping[str, str | None]
"""Of one series: what people call its segments, by dimension."""
_NOBODY: Names = {}


def labels_of(notice: Notice, item: NoticeItem, sources: Sequence[str] = (), names: Names = _NOBODY) -> Labels:
    """The labels of one alert: the rule's own, then rule, kpi, severity, kind, source, and each dimension as id and as name.

    Args:
        notice: what all alerts of the rule and slot have in common.
        item: the series.
        sources: those that feed the KPI.
        names: what people call the segments.
    """
    found: dict[str, frozenset[str]] = {}
    for name, value in notice.labels:
        found[name] = found.get(name, frozenset()) | {value}
    found["rule"] = _values(notice.rule, notice.uid)
    found["kpi"] = _values(notice.kpi)
    found["severity"] = _values(item.level.value)
    found["kind"] = _values(notice.kind)
    found["source"] = found.get("source", frozenset()) | _values(*sources)
    for dimension, key in item.dims:
        found[dimension] = found.get(dimension, frozenset()) | _values(key, names.get(dimension))
    if len(item.dims) == 1 and item.segment:
        (dimension, _) = item.dims[0]
        found[dimension] |= _values(item.segment)
    return found


def matches(matchers: Mapping[str, Sequence[str]], labels: Labels) -> bool:
    """Whether every matcher says yes.

    One of its texts must fit one of the label's values (``*`` stands for anything, ``?`` for one character; case does not count),
    and none that begins with ``!`` may. A label that is not there fits nothing, so that ``!x`` holds for it.
    """
    return all(_fits(tuple(wanted), labels.get(name, frozenset())) for name, wanted in matchers.items())


def matchers_text(matchers: Mapping[str, Sequence[str]]) -> str:
    """The matchers for people: ``severity=critical, team=!sales|ops``; ``everything`` if there are none."""
    return ", ".join(f"{name}={'|'.join(wanted)}" for name, wanted in matchers.items()) or "everything"


def value_of(labels: Labels, name: str) -> str:
    """One text for a label: the same for the same alert; empty if it has none."""
    return ",".join(sorted(labels.get(name, frozenset())))


def _values(*found: str | None) -> frozenset[str]:
    return frozenset(value for value in found if value)


def _fits(wanted: tuple[str, ...], values: Iterable[str]) -> bool:
    held = list(values)
    unwanted = [text[1:] for text in wanted if text.startswith("!")]
    if any(_is_like(text, value) for text in unwanted for value in held):
        return False
    positive = [text for text in wanted if not text.startswith("!")]
    return not positive or any(_is_like(text, value) for text in positive for value in held)


def _is_like(pattern: str, value: str) -> bool:
    return _compiled(pattern.casefold()).fullmatch(value.casefold()) is not None


@lru_cache(maxsize=1_024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.DOTALL)
