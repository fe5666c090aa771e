"""Exact arithmetic for formulas: undefined stays undefined, and a ratio keeps its numerator and denominator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from fractions import Fraction
from typing import TypeAlias

Number: TypeAlias = "Quantity | Fraction | Decimal | int"
_ONE = Fraction(1)
_EXACT = Context(prec=28)


class Quantity:
    """A number of a formula: ``scale * numerator / denominator``, exact, or undefined with a reason.

    ``denominator`` is None for what is no ratio (a count, a sum). Dividing two plain quantities makes a ratio of them; constant
    factors go into ``scale``, so that ``100 * (m.promoters - m.detractors) / m.answers`` keeps the people it counted.
    """

    __slots__ = ("_above", "_below", "is_defined", "is_ratio", "is_settled", "label", "reason", "scale")

    def __init__(
        self,
        numerator: Fraction | Decimal | int | None,
        denominator: Fraction | Decimal | int | None = None,
        *,
        scale: Fraction = _ONE,
        label: str = "",
        reason: str = "",
    ) -> None:
        self.is_settled = False
        self.is_ratio = denominator is not None
        self.is_defined = numerator is not None and denominator != 0
        self._above = _exact(numerator) if numerator is not None else 0
        self._below = _exact(denominator) if denominator else 1
        self.scale = scale
        self.label = label
        self.reason = "" if self.is_defined else reason or f"no {label or 'rows'}"

    @classmethod
    def settled(cls, reason: str) -> Quantity:
        """No number, and yet nothing wrong or unknown: what was asked for is no question any more (``target met``)."""
        nothing = cls(None, reason=reason)
        nothing.is_settled = True
        return nothing

    @property
    def numerator(self) -> Fraction | None:
        """What a ratio divides; None if undefined."""
        return Fraction(self._above) if self.is_defined else None

    @property
    def denominator(self) -> Fraction | None:
        """What a ratio divides by; None if undefined or no ratio."""
        return Fraction(self._below) if self.is_defined and self.is_ratio else None

    @property
    def whole(self) -> tuple[int, int] | None:
        """Numerator and denominator if both are whole numbers: a ratio of counts."""
        above, below = self._above, self._below
        is_whole = self.is_defined and above.denominator == 1 and below.denominator == 1
        return (int(above), int(below)) if is_whole else None

    @property
    def exact(self) -> Fraction | None:
        """The value as a fraction; None if undefined."""
        if not self.is_defined:
            return None
        return Fraction(self._above, self._below) if self.scale is _ONE else self.scale * self._above / self._below

    def decimals(self) -> tuple[Decimal | None, Decimal | None]:
        """Numerator and denominator with 28 digits; None twice if this is undefined or no ratio."""
        if not (self.is_defined and self.is_ratio):
            return None, None
        return decimal_from_fraction(self._above), decimal_from_fraction(self._below)

    @property
    def value(self) -> Decimal | None:
        """The value with 28 digits; None if undefined."""
        if not self.is_defined:
            return None
        is_plain = self.scale is _ONE
        if is_plain and self._below == 1:
            return decimal_from_fraction(self._above)
        if is_plain and type(self._above) is int and type(self._below) is int:
            return _divided(self._above, self._below)
        plain = Fraction(self._above, self._below)
        return decimal_from_fraction(plain if is_plain else self.scale * plain)

    def __mul__(self, other: Number) -> Quantity:
        if not isinstance(other, Quantity):
            return self._like(self._above, self.scale * Fraction(other))
        if not (self.is_defined and other.is_defined):
            return _undefined(self, other)
        below = self._below * other._below if self.is_ratio or other.is_ratio else None
        scale = self.scale if other.scale is _ONE else self.scale * other.scale
        return Quantity(self._above * other._above, below, scale=scale)

    def __truediv__(self, other: Number) -> Quantity:
        other = _quantity(other)
        if not (self.is_defined and other.is_defined):
            return _undefined(self, other)
        if other._above == 0 or other.scale == 0:
            return Quantity(None, reason=f"no {other.label}" if other.label else "division by zero")
        scale = self.scale if other.scale is _ONE else self.scale / other.scale
        return Quantity(self._above * other._below, self._below * other._above, scale=scale)

    def __add__(self, other: Number) -> Quantity:
        other = _quantity(other)
        if not (self.is_defined and other.is_defined):
            return _undefined(self, other)
        if (self.scale, self._below, self.is_ratio) == (other.scale, other._below, other.is_ratio):
            return self._like(self._above + other._above, self.scale)
        return Quantity(self.scale * self._above / self._below + other.scale * other._above / other._below)

    def __neg__(self) -> Quantity:
        return self._like(-self._above, self.scale)

    def __sub__(self, other: Number) -> Quantity:
        return self + -_quantity(other)

    def __radd__(self, other: Number) -> Quantity:
        return _quantity(other) + self

    def __rsub__(self, other: Number) -> Quantity:
        return _quantity(other) - self

    def __rmul__(self, other: Number) -> Quantity:
        return self * other

    def __rtruediv__(self, other: Number) -> Quantity:
        return _quantity(other) / self

    def __repr__(self) -> str:
        return f"Quantity({self.value if self.is_defined else self.reason})"

    def _like(self, above: Fraction | int, scale: Fraction) -> Quantity:
        numerator = above if self.is_defined else None
        return Quantity(numerator, self._below if self.is_ratio else None, scale=scale, label=self.label, reason=self.reason)


class Values(Mapping[str, Quantity]):
    """The measures of one segment and period, for the formula: ``m.won / m.closed`` or ``m["won"]``."""

    def __init__(self, quantities: Mapping[str, Quantity]) -> None:
        self._quantities = dict(quantities)

    def __getitem__(self, name: str) -> Quantity:
        return self._quantities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._quantities)

    def __len__(self) -> int:
        return len(self._quantities)

    def __getattr__(self, name: str) -> Quantity:
        try:
            return self._quantities[name]
        except KeyError:
            raise AttributeError(f"no measure {name!r}; there are {', '.join(self._quantities)}") from None


def decimal_from_fraction(number: Fraction | int) -> Decimal:
    """The fraction with 28 digits, without trailing zeros."""
    if type(number) is int:
        return Decimal(number)
    if number.denominator == 1:
        return Decimal(number.numerator)
    return _divided(number.numerator, number.denominator)


def _divided(above: int, below: int) -> Decimal:
    value = _EXACT.divide(Decimal(above), Decimal(below)).normalize(_EXACT)
    exponent = value.as_tuple().exponent
    return Decimal(int(value)) if isinstance(exponent, int) and exponent > 0 else value


def _exact(number: Fraction | Decimal | int) -> Fraction | int:
    """As it is if that is exact already: most numbers are counts, and counts are ints."""
    return number if isinstance(number, int | Fraction) else Fraction(number)


def _quantity(number: Number) -> Quantity:
    return number if isinstance(number, Quantity) else Quantity(Fraction(number))


def _undefined(*quantities: Quantity) -> Quantity:
    return Quantity(None, reason=next(quantity.reason for quantity in quantities if not quantity.is_defined))
