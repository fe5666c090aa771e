"""Base of every plugin's settings, and the type that keeps secrets out of sight."""

from __future__ import annotations

from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, SecretStr

Secret = SecretStr
"""A text that prints as stars; ``get_secret_value()`` reveals it. Use it for every token, password and signing key."""


class Settings(BaseModel):
    """Settings of a plugin, from the YAML of one source, receiver or report.

    Subclass it with typed fields, each with ``Field(description=...)``. Unknown keys are refused. A number where a text is wanted
    (``id: 7``) is taken as it was written.
    """

    model_config = ConfigDict(
        defer_build=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        coerce_numbers_to_str=True,
    )


def known_zone(value: str | None) -> str | None:
    """For settings with the name of a zone: ``_known_zone = field_validator("timezone")(known_zone)``.

    Raises:
        ValueError: there is no such zone.
    """
    if value is not None and value not in available_timezones():
        raise ValueError("not a time zone; write one like Europe/Berlin")
    return value
