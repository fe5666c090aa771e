"""``population:``: which records count, in every KPI: whose pipelines and teams are measured, and who is the company itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from kpid.config.problems import Place
from kpid.config.values import Model, Names
from kpid.errors import ConfigError

_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
_PROVIDERS = frozenset(
    """aol.com free.fr gmail.com gmx.de gmx.net googlemail.com hotmail.com icloud.com laposte.net live.com mail.com mail.ru me.com
    msn.com orange.fr outlook.com proton.me protonmail.com qq.com t-online.de web.de yahoo.com ymail.com""".split()  # noqa: SIM905
)
"""Domains of everybody: as somebody's own they would leave out half of the customers."""


def _domain(value: str) -> str:
    domain = value.strip().lower().removeprefix("@").removeprefix("www.").rstrip(".")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{value!r} is no domain: write it as example.com")
    if domain in _PROVIDERS:
        raise ValueError(f"{domain} is a mail provider's: customers have addresses there, too")
    return domain


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_DOMAINS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_Domains = Annotated[
    tuple[Annotated[str, AfterValidator(_domain)], ...], BeforeValidator(_listed), WithJsonSchema(_DOMAINS_SCHEMA)
]


class Population(Model):
    """Which records count. What is not said restricts nothing; internal accounts never count."""

    pipelines: Names = Field(
        (), description="Names (or ids) of the pipelines whose deals count; deals without a pipeline do not. Empty: all deals."
    )
    exclude_pipelines: Names = Field((), description="Names (or ids) of pipelines whose deals do not count.")
    teams: Names = Field(
        (), description="Names of the teams whose people's records count; those of nobody do not. Empty: everybody's."
    )
    exclude_teams: Names = Field((), description="Names of teams whose people's records do not count.")
    own_domains: _Domains = Field(
        (), description="The company's own web and mail domains: accounts, contacts and leads of these are internal."
    )

    @property
    def text(self) -> str:
        """What a reader of a definition should know; empty if nothing is restricted."""
        said = [
            f"deals of {_listing('pipeline', self.pipelines)}" if self.pipelines else "",
            f"no deals of {_listing('pipeline', self.exclude_pipelines)}" if self.exclude_pipelines else "",
            f"records of {_listing('team', self.teams)}" if self.teams else "",
            f"no records of {_listing('team', self.exclude_teams)}" if self.exclude_teams else "",
            f"no records of our own ({', '.join(self.own_domains)})" if self.own_domains else "",
        ]
        return ", ".join(part for part in said if part)


def _listing(noun: str, names: tuple[str, ...]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names)}"


def population_errors(population: Population, place: Place) -> Iterator[ConfigError]:
    """Names that are both in and out, and names of nothing."""
    for noun in ("pipelines", "teams"):
        wanted, unwanted = getattr(population, noun), getattr(population, f"exclude_{noun}")
        for number, name in enumerate(unwanted):
            if name in wanted:
                where = place("population", f"exclude_{noun}", number)
                yield ConfigError(f"{name!r} is in {noun} and in exclude_{noun}", where=where, hint="Take it out of one of them")
        for key, names in ((noun, wanted), (f"exclude_{noun}", unwanted)):
            for number, name in enumerate(names):
                if not name.strip():
                    where = place("population", key, number)
                    yield ConfigError(f"{key}: the name is empty", where=where, hint=f"Write the name of one of the {noun}")
