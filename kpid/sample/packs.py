"""A first configuration, made of pieces: a source, a receiver, packs of rules with their tests.

The pieces are files (``config/init``, ``config/rules``): which systems there are is what the folder holds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import kpid
from kpid.errors import ConfigError

PACKAGED = Path(kpid.__file__).parent / "sample_config"
CHECKED_OUT = Path(kpid.__file__).parents[1] / "config"
SAMPLE = "sample"
"""The source that is no CRM: invented data to look around."""
FIRST = {
    "sources": (SAMPLE, "files"),
    "receivers": ("mailbox", "email"),
    "rules": ("sales", "pipeline", "activity", "support", "data"),
}
"""What stands first where people choose; of packs, what is taken if nobody says anything."""
_EXPORT = re.compile(r"^# export (?P<name>\w+)=(?P<value>\S+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """What somebody wants to begin with.

    Attributes:
        source: name of a piece in ``init/sources``: where the data come from.
        receiver: name of a piece in ``init/receivers``: who is told.
        packs: names of files of rules.
        company: name in reports.
        timezone: IANA name.
        currency: ISO code.
    """

    source: str = SAMPLE
    receiver: str = "mailbox"
    packs: tuple[str, ...] = FIRST["rules"]
    company: str = "Example Inc."
    timezone: str = "Europe/Berlin"
    currency: str = "EUR"


@dataclass(frozen=True)
class Written:
    """What was written. ``variables`` is what the environment has to hold, each with an example."""

    files: tuple[Path, ...]
    variables: Mapping[str, str]


def origin() -> Path:
    """The folder with the pieces: in the package, or in the checkout."""
    return PACKAGED if PACKAGED.is_dir() else CHECKED_OUT


def sources() -> list[str]:
    """What data can come from."""
    return _names("init/sources", FIRST["sources"])


def receivers() -> list[str]:
    """What people can be told by."""
    return _names("init/receivers", FIRST["receivers"])


def packs() -> list[str]:
    """The packs of rules."""
    return _names("rules", FIRST["rules"])


def write_start(folder: Path, start: Start) -> Written:
    """Write a configuration. What is there already stays as it is.

    Args:
        folder: where ``kpid.yml`` goes; made if missing.
        start: what it is made of.

    Raises:
        ConfigError: there is a configuration in the folder, or no such piece.
    """
    main = folder / "kpid.yml"
    if main.exists():
        hint = "Nothing was written. Change that one, or write another with --out"
        raise ConfigError("there is a configuration already", where=str(main), hint=hint)
    for wanted, known, what in (
        ((start.source,), sources(), "source"), ((start.receiver,), receivers(), "receiver"), (start.packs, packs(), "pack")
    ):  # fmt: skip
        for name in wanted:
            if name not in known:
                raise ConfigError(f"there is no {what} {name!r}", hint=f"There are {', '.join(known)}")
    text, variables = _composed(start)
    folder.mkdir(parents=True, exist_ok=True)
    copied = list(copy_files(folder, _files(start.packs)))
    with main.open("x", encoding="utf-8") as file:
        file.write(text)
    return Written((main, *copied), variables)


def copy_files(folder: Path, names: Iterable[str]) -> Iterable[Path]:
    """Copy pieces as they are; files that are there already stay. Gives what was written."""
    for name in names:
        target = folder / name
        if target.exists() or not (origin() / name).is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin() / name, target)
        yield target


def _names(part: str, first: Iterable[str]) -> list[str]:
    found = {file.stem for file in (origin() / part).glob("*.yml")}
    return [*(name for name in first if name in found), *sorted(found - set(first))]


def _files(chosen: Iterable[str]) -> list[str]:
    """The files of packs: rules, their tests, KPIs that only they look at; and the report."""
    return [*(f"{place}/{name}.yml" for name in chosen for place in ("rules", "rules/tests", "kpis")), "reports/weekly.yml"]


def _composed(start: Start) -> tuple[str, Mapping[str, str]]:
    """The text of ``kpid.yml``, and the variables that it refers to."""
    source, receiver = (
        (origin() / "init" / part / f"{name}.yml").read_text(encoding="utf-8")
        for part, name in (("sources", start.source), ("receivers", start.receiver))
    )
    variables = {found["name"]: found["value"] for found in _EXPORT.finditer(source + receiver)}
    pieces = {
        "source": _EXPORT.sub("", source).rstrip(),
        "receiver": _EXPORT.sub("", receiver).rstrip(),
        "packs": "\n".join(f"  - rules/{name}.yml" for name in start.packs),
        "company": _quoted(start.company),
        "timezone": start.timezone,
        "currency": start.currency,
    }
    text = (origin() / "init" / "kpid.yml").read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: pieces[found[1]], text), variables


def _quoted(text: str) -> str:
    """A text as YAML, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
