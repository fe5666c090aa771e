"""Public holidays of a country or one of its regions, as the ``holidays`` library knows them."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from kpid.errors import ConfigError

FULL, HALF = "full", "half"


def check_region(country: str, region: str = "") -> None:
    """Refuse a country or region whose holidays are not known.

    Args:
        country: two letters (ISO 3166), such as ``DE``.
        region: code of a part of it (ISO 3166-2 without the country), such as ``BY``; empty for the whole country.

    Raises:
        ConfigError: they are not known.
    """
    holidays_of(country, region, 2020)


@lru_cache(maxsize=1_000)
def holidays_of(country: str, region: str, year: int) -> dict[date, str]:
    """Holidays of a year: local date -> ``full``, or ``half`` where only a part of the day is free.

    Raises:
        ConfigError: country or region is not known.
    """
    from holidays import country_holidays  # noqa: PLC0415 - only who counts working days pays for it

    try:
        public = country_holidays(country, subdiv=region or None, years=year, expand=False)
        found = dict.fromkeys(public, FULL)
        if "half_day" in public.supported_categories:
            short = country_holidays(country, subdiv=region or None, years=year, expand=False, categories=("half_day",))
            found = dict.fromkeys(short, HALF) | found
    except NotImplementedError as error:
        place = f"region {region!r} of {country}" if region else f"country {country!r}"
        hint = "Write two letters such as DE, and the part of the country as in ISO 3166-2, such as BY; or list the days yourself"
        raise ConfigError(f"the holidays of {place} are not known", hint=hint) from error
    return found
