"""Numbers, changes, periods and instants as people read them: the one formatter behind mail, chat, text and terminal.

English wording without a locale: the same value reads the same everywhere. True minus (U+2212), thousands separators, at most
three or four significant digits; ``exact_text`` adds digits where rounding would hide on which side of a limit a value is.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from kpid.analysis.period_labels import TO_DATE, label_of

if TYPE_CHECKING:
    from kpid.analysis.calendar import Calendar
    from kpid.model import Period

NOTHING = "n/a"
"""What stands for an undefined value. Never 0."""

MINUS = "\u2212"
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}
_SCALES = ((Decimal(10) ** 9, "bn"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
_WEEKS = ("week", "iso_week", "week_sun", "week_sat")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MOST_DIGITS = 9
_WIDE = Context(prec=400, rounding=ROUND_HALF_UP)
"""Room for every number that a database can hold: an absurd amount must not keep an alert from being written."""


LONGEST = Decimal(86_400 * 999_999_999)
"""Seconds; a longer time is no age of anything."""


# ---- values
def value_text(value: Decimal | None, unit: str, currency: str | None = None) -> str:
    """A value with its unit: ``63.2%``, ``3.2×``, ``€412k``, ``47 days``, ``1,246``; ``n/a`` when undefined.

    Args:
        value: ratios as fractions (0.632), seconds as seconds.
        unit: count, ratio, times, currency, days, seconds or score.
        currency: ISO code of an amount.
    """
    if value is None:
        return NOTHING
    if unit == "currency":
        return _money(value, currency)
    if unit == "seconds":
        return _signed(value, age_text(timedelta(seconds=float(min(abs(value), LONGEST)))))
    return _plain(value, unit, _digits(value, unit))


def exact_text(value: Decimal | None, limit: Decimal | None, unit: str, currency: str | None = None) -> str:
    """Like ``value_text`` with as many digits as it takes to see on which side of ``limit`` the value is: ``39.996%``."""
    if value is None or limit is None or value == limit or unit == "seconds":
        return value_text(value, unit, currency)
    if unit == "currency":
        step = _money_step(value)
        if _same_side(_round_to(value, step), value, limit):
            return _money(value, currency)
        digits = next((d for d in range(_MOST_DIGITS) if _same_side(_round(value, d), value, limit)), _MOST_DIGITS)
        return _signed(value, f"{_symbol(currency)}{_grouped(abs(value), digits)}")
    shift = 2 if unit == "ratio" else 0
    start = _digits(value, unit)
    for digits in range(start, start + _MOST_DIGITS):
        if _same_side(_round(value, digits + shift), value, limit):
            return _plain(value, unit, digits)
    return _plain(value, unit, start + _MOST_DIGITS)


def bound_text(value: Decimal, unit: str, currency: str | None = None) -> str:
    """A bound in full, however many digits it has: ``3×``, ``40%``, ``€412,345``, ``90 s``."""
    if unit not in {"currency", "seconds"}:
        return limit_text(value, unit, currency)
    exponent = value.normalize().as_tuple().exponent
    number = _grouped(abs(value), min(_MOST_DIGITS, max(0, -exponent if isinstance(exponent, int) else 0)))
    return _signed(value, f"{number} s" if unit == "seconds" else f"{_symbol(currency)}{number}")


def limit_text(value: Decimal | None, unit: str, currency: str | None = None) -> str:
    """A threshold or target as a person would write it: ``40%`` and not ``40.0%``, ``37.5%``, ``€400k``, ``45 days``."""
    if value is None or unit in {"currency", "seconds"}:
        return value_text(value, unit, currency)
    scaled = (value * 100 if unit == "ratio" else value).normalize()
    exponent = scaled.as_tuple().exponent
    return _plain(value, unit, min(4, max(0, -exponent if isinstance(exponent, int) else 0)))


def change_text(new: Decimal | None, old: Decimal | None, unit: str, currency: str | None = None) -> str:
    """The change from ``old`` to ``new`` in its own unit: ``−2.1 pt``, ``+€14k``, ``+1 day``, ``no change``.

    ``n/a`` where either is undefined. Changes have no more digits than the values. Percentages
    change by points, never by "% of %".
    """
    if new is None or old is None:
        return NOTHING
    change = new - old
    if change == 0:
        return "no change"
    if unit == "ratio":
        body = f"{_grouped(abs(change) * 100, _change_digits(change * 100))} pt"
    elif unit == "currency":
        rounded = _round_to(change, _money_step(max(abs(new), abs(old))))
        body = _money(abs(rounded or change), currency)
    elif unit == "seconds":
        body = value_text(abs(change), unit)
    else:
        digits = max(_digits(new, unit), _digits(old, unit))
        body = _plain(abs(change), unit, digits if _round(change, digits) else _digits(change, unit))
    return f"{'+' if change > 0 else MINUS}{body}"


def share_text(new: Decimal | None, old: Decimal | None) -> str:
    """The relative change ``+12%``; empty where it means nothing (no base, or a negative one)."""
    if new is None or old is None or old <= 0:
        return ""
    percent = (new - old) / old * 100
    return _signed(percent, f"{_grouped(abs(percent), 0 if abs(percent) >= 10 else 1)}%", plus=True)


def better_word(new: Decimal | None, old: Decimal | None, better: str) -> str:
    """``better`` or ``worse`` for a KPI whose good direction is ``up`` or ``down``; empty when neither can be said."""
    if new is None or old is None or new == old or better not in {"up", "down"}:
        return ""
    return "better" if (new > old) == (better == "up") else "worse"


def count_text(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 deal``, ``1,246 deals``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def noun_text(number: int | Decimal, many: str) -> str:
    """A noun, given in the plural, as it goes with a number: ``closed deal``, ``won deals with an amount``, ``activity``."""
    if number != 1:
        return many
    return re.sub(r"\b(\w+?)(ies|s)\b", lambda found: f"{found[1]}{'y' if found[2] == 'ies' else ''}", many, count=1)


# ---- time
def period_text(period: Period, calendar: Calendar) -> str:
    """A period by name: ``week 46, 9–15 Nov 2026``, ``December 2017``, ``Q4 2017``, ``90 days to 31 Dec 2017``."""
    zone = _zone(calendar.timezone)
    first, last = period.start.astimezone(zone), (period.end - timedelta(microseconds=1)).astimezone(zone)
    span = _span(first, last)
    rolling = re.fullmatch(r"rolling_(\d+)d(_today)?", period.kind)
    if rolling:
        return f"{rolling[1]} days to {_day(last)} {last.year}"
    if ".." in period.kind or period.kind.startswith("since_"):  # given days
        return span
    if period.kind in TO_DATE:
        return _to_date(period.kind, first, last, calendar)
    number = re.search(r"W(\d+)", period.label)
    names = {
        "day": f"{_WEEKDAYS[first.weekday()]} {_day(first)} {first.year}",
        **dict.fromkeys(_WEEKS, f"week {int(number[1])}, {span}" if number else f"week of {span}"),
        "month": f"{_MONTHS[first.month - 1]} {first.year}",
        "quarter": f"Q{(first.month + 2) // 3} {first.year}",
    }
    return names.get(period.kind) or period.label or span


def short_period(period: Period, calendar: Calendar) -> str:
    """A period for the foot of a chart: ``W46``, ``Nov``, ``16 Nov``, ``Q4``; else its label.

    Of kinds with one period per day, all of which may begin on the same day, the last day.
    """
    zone = _zone(calendar.timezone)
    start = period.start.astimezone(zone)
    if period.kind in TO_DATE or period.kind.startswith(("rolling_", "since_")):
        return _day((period.end - timedelta(microseconds=1)).astimezone(zone))
    if period.kind == "hour":
        return f"{start:%H:%M}"
    if period.kind in _WEEKS:
        number = re.search(r"W\d+", period.label)
        return number[0] if number else _day(start)
    if period.kind == "day":
        return _day(start)
    if period.kind == "month":
        return _MONTHS[start.month - 1][:3]
    return f"Q{(start.month + 2) // 3}" if period.kind == "quarter" else period.label


def day_text(day: date) -> str:
    """A day: ``5 Nov 2026``."""
    return f"{day.day} {_MONTHS[day.month - 1][:3]} {day.year}"


def when_text(instant: datetime, timezone: str | tzinfo, now: datetime | None = None) -> str:
    """An instant on the company's wall clock: ``Mon 16 Nov, 07:00 CET``; with the year if it is not that of ``now``."""
    local = instant.astimezone(_zone(timezone))
    year = f" {local.year}" if now is not None and now.astimezone(local.tzinfo).year != local.year else ""
    return f"{_WEEKDAYS[local.weekday()]} {_day(local)}{year}, {local:%H:%M} {local.tzname() or ''}".rstrip()


def age_text(delta: timedelta) -> str:
    """A length of time: ``45 s``, ``12 min``, ``3 h 20 min``, ``26 h``, ``2 days``."""
    seconds = abs(int(delta.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 10 and minutes % 60:
        return f"{hours} h {minutes % 60} min"
    return f"{hours} h" if hours < 48 else f"{days:,} days"


# ---- parts
def _zone(timezone: str | tzinfo) -> tzinfo:
    return ZoneInfo(timezone) if isinstance(timezone, str) else timezone


def _day(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1][:3]}"


def _to_date(kind: str, first: datetime, last: datetime, calendar: Calendar) -> str:
    """What is over so far, by its name and its last day: ``Q4 to 22 Nov 2026``; of a month its days: ``1–22 Nov 2026``."""
    if kind == "mtd":
        return _span(first, last)
    if kind == "ytd":
        return f"{first.year} to {_day(last)}"
    name = label_of(TO_DATE[kind], first.date(), calendar)
    if kind == "qtd":
        name = name[-2:]
    if kind == "wtd":
        number = re.search(r"W(\d+)", name)
        name = f"week {int(number[1])}" if number else f"week of {_day(first)}"
    return f"{name} to {_day(last)} {last.year}"


def _span(first: datetime, last: datetime) -> str:
    if first.date() == last.date():
        return f"{_day(first)} {first.year}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{_day(last)} {last.year}"
    if first.year == last.year:
        return f"{_day(first)} – {_day(last)} {last.year}"
    return f"{_day(first)} {first.year} – {_day(last)} {last.year}"


def _round(value: Decimal, digits: int) -> Decimal:
    return _round_to(value, Decimal(1).scaleb(-digits))


def _round_to(value: Decimal, step: Decimal) -> Decimal:
    return _WIDE.multiply(_WIDE.quantize(_WIDE.divide(value, step), Decimal(1)), step)


def _same_side(rounded: Decimal, value: Decimal, limit: Decimal) -> bool:
    return rounded < limit if value < limit else rounded > limit


def _grouped(value: Decimal, digits: int) -> str:
    return f"{_round(value, digits):,.{digits}f}"


def _signed(value: Decimal, body: str, *, plus: bool = False) -> str:
    """The body with the sign of ``value``, unless the body shows nothing but zeros."""
    if value == 0 or not re.search(r"[1-9]", body):
        return body
    return f"{MINUS}{body}" if value < 0 else f"{'+' if plus else ''}{body}"


def _digits(value: Decimal, unit: str) -> int:
    """Digits after the point that a value is shown with at least."""
    if unit == "ratio":
        percent = abs(value) * 100
        if percent >= Decimal("999.95"):
            return 0
        return 2 if 0 < percent < Decimal("0.95") else 1
    if value == value.to_integral_value() or abs(value) >= 100:
        return 0
    if abs(value) < Decimal("0.095"):
        return 2
    return 0 if unit in {"days", "score"} and abs(value) >= 10 else 1


def _change_digits(change: Decimal) -> int:
    if abs(change) < Decimal("0.05"):
        return 2
    return 1 if change != change.to_integral_value() or abs(change) < 100 else 0


def _plain(value: Decimal, unit: str, digits: int) -> str:
    if unit == "ratio":
        return _signed(value, f"{_grouped(abs(value) * 100, digits)}%")
    number = _grouped(abs(value), digits)
    if unit == "days":
        number += " day" if number == "1" else " days"
    if unit == "times":
        number += "×"
    return _signed(value, number)


def _symbol(currency: str | None) -> str:
    if not currency:
        return ""
    return _SYMBOLS.get(currency, f"{currency}\u00a0")


def _money_step(value: Decimal) -> Decimal:
    """The unit that an amount is rounded to for reading: cents below 100, then whole units, then three significant digits."""
    amount = abs(value)
    if amount < 100:
        return Decimal("0.01")
    if _round(amount, 0) < 10_000:
        return Decimal(1)
    return Decimal(10) ** (amount.adjusted() - 2)


def _money(value: Decimal, currency: str | None) -> str:
    amount = _round_to(abs(value), _money_step(value))
    scale, suffix = next(((s, t) for s, t in _SCALES if amount >= max(s, Decimal(10_000))), (Decimal(1), ""))
    scaled = (amount / scale).normalize()
    exponent = scaled.as_tuple().exponent
    digits = max(0, -exponent if isinstance(exponent, int) else 0)
    if not suffix and digits:
        digits = 2
    return _signed(value, f"{_symbol(currency)}{scaled:,.{digits}f}{suffix}")
