"""YAML files to a :class:`Config`: read, include, fill references in, validate. Every mistake comes with its place."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kpid.config.meaning import meaning_errors
from kpid.config.model import Config, Receiver, Source
from kpid.config.paths import absolute_url
from kpid.config.problems import Key, each_error, errors_of, near_miss, raise_errors
from kpid.config.secrets import References
from kpid.config.tree import Keys, Tree, read_tree
from kpid.errors import ConfigError

INCLUDABLE = ("sources", "receivers", "calendars", "kpis", "fields", "rules", "reports", "routes", "inhibit", "windows")
"""The keys that an included file may have."""
_LISTS = ("rules", "routes", "inhibit")

_WITH_OPTIONS: dict[str, type[Source | Receiver]] = {"sources": Source, "receivers": Receiver}
_NOT_WRITTEN = ("folder", "file")
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it came from.

    Args:
        config: the validated values.
        files: every file that was read, the main one first.
        secrets: secret texts met while loading (see :mod:`kpid.config.secrets`), for the log filter.
        places: path of keys to ``file:line``.
    """

    config: Config
    files: tuple[Path, ...]
    secrets: frozenset[str] = field(repr=False)
    places: Mapping[Keys, str] = field(repr=False)

    def place(self, *path: Key) -> str:
        """``file:line`` of a key or item, such as ``place("rules", 3, "warn")``; of the nearest that is written, if it is not.

        A connector's or notifier's own keys are found with and without ``options`` in the path.
        """
        return _place(self.places, path)


def load_config(file: Path, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read a configuration and everything it includes. Contacts nobody.

    Args:
        file: the main YAML file.
        environ: what ``${env:X}`` refers to; the process's environment if None.

    Raises:
        ConfigError: something is wrong; :class:`~kpid.config.problems.ConfigErrors` if several things are.
    """
    file = Path(file)
    folder = file.absolute().parent
    draft = _Draft(file, References(os.environ if environ is None else environ, folder))
    draft.read_all()
    config = draft.validated(folder)
    raise_errors(draft.told())
    assert config is not None  # noqa: S101 - without errors there is one
    return Loaded(config, tuple(draft.files), frozenset(draft.secrets | _capabilities(config)), draft.places)


def _capabilities(config: Config) -> set[str]:
    """What kpid's own settings hold that opens doors, wherever it came from."""
    signing = {config.web.secret} if config.web else set()
    return signing | ({config.heartbeat.url} if config.heartbeat else set())


def _place(places: Mapping[Keys, str], path: Keys) -> str:
    if path[:1] in (("sources",), ("receivers",)) and path[2:3] == ("options",):
        path = (*path[:2], *path[3:])
    while path not in places and path:
        path = path[:-1]
    return places[path]


@dataclass
class _Draft:
    """A configuration while it is read: plain values, their places, and the mistakes so far."""

    file: Path
    references: References
    value: dict[str, Any] = field(default_factory=dict)
    places: dict[Keys, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    errors: list[ConfigError] = field(default_factory=list)
    unfilled: list[ConfigError] = field(default_factory=list)

    def place(self, *path: Key) -> str:
        return _place(self.places, path)

    def told(self) -> list[ConfigError]:
        """The mistakes; where a reference leads nowhere, nothing more is said of its value."""
        unfilled = {error.where for error in self.unfilled}
        return [*self.unfilled, *(error for error in self.errors if error.where not in unfilled)]

    def read_all(self) -> None:
        main = self._read(self.file)
        self.value = {key: value for key, value in main.value.items() if value is not None}
        self.places = main.places
        for key in _NOT_WRITTEN:
            if key in self.value:
                del self.value[key]
                self._refuse(
                    f"unknown key {key!r}", self.place(key), near_miss(key, set(Config.model_fields) - set(_NOT_WRITTEN))
                )
        for included in self._included():
            try:
                self._merge(self._read(included), included)
            except ConfigError as error:
                self.errors.extend(each_error(error))

    def _read(self, file: Path) -> Tree:
        tree = read_tree(file)
        self.files.append(file)
        return Tree(self._filled(tree.value, (), tree.places), tree.places)

    def _filled(self, value: Any, path: Keys, places: Mapping[Keys, str]) -> Any:
        """``value`` with the references in its texts replaced."""
        if isinstance(value, dict):
            return {key: self._filled(item, (*path, key), places) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item, (*path, number), places) for number, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            text, secrets = self.references.resolve(value, _place(places, path))
        except ConfigError as error:
            self.unfilled.append(error)
            return value
        self.secrets |= secrets
        return text

    def _included(self) -> Iterator[Path]:
        written = self.value.get("include", list(Config.model_fields["include"].default))
        patterns = [written] if isinstance(written, str) else written if isinstance(written, list) else []
        parent, seen = self.file.parent, {self.file.resolve()}
        for number, pattern in enumerate(patterns):
            found = sorted(glob.glob(str(pattern), root_dir=parent, recursive=True))  # noqa: PTH207 - takes absolute patterns too
            if not found and not _WILDCARDS & set(str(pattern)):
                self._refuse(
                    f"the included file {pattern!r} does not exist",
                    self.place("include", number),
                    "Paths start at this file's folder",
                )
            for name in found:
                if (parent / name).resolve() not in seen and (parent / name).is_file():
                    seen.add((parent / name).resolve())
                    yield parent / name

    def _merge(self, tree: Tree, file: Path) -> None:
        for section, items in tree.value.items():
            if section not in INCLUDABLE:
                hint = near_miss(section, INCLUDABLE, what="An included file may have")
                if section in Config.model_fields:
                    hint = f"It belongs into {self.file}; an included file may have: {', '.join(INCLUDABLE)}"
                self._refuse(f"the key {section!r} cannot be in an included file", tree.places[(section,)], hint)
            elif section in _LISTS and isinstance(items, list):
                self._add_listed(section, items, tree)
            elif section not in _LISTS and isinstance(items, dict):
                self._add_named(section, items, tree)
            elif items is not None:
                kind = "a list" if section in _LISTS else "a mapping of names to settings"
                self._refuse(f"{section} must be {kind}", tree.places[(section,)], f"Look at {section}: in config/kpid.yml")

    def _add_listed(self, section: str, items: list[Any], tree: Tree) -> None:
        known = self.value.setdefault(section, [])
        if not isinstance(known, list):
            return
        self.places.setdefault((section,), tree.places[section,])
        for path, place in tree.places.items():
            if path[:1] == (section,) and len(path) > 1:
                self.places[section, int(path[1]) + len(known), *path[2:]] = place
        known.extend(items)

    def _add_named(self, section: str, items: dict[str, Any], tree: Tree) -> None:
        known = self.value.setdefault(section, {})
        if not isinstance(known, dict):
            return
        self.places.setdefault((section,), tree.places[section,])
        for name, item in items.items():
            if name in known:
                where = tree.places[section, name]
                self._refuse(
                    f"{section}: {name!r} is defined twice", where, f"The other is at {self.place(section, name)}: keep one"
                )
                continue
            known[name] = item
            self.places.update({path: place for path, place in tree.places.items() if path[:2] == (section, name)})

    def validated(self, folder: Path) -> Config | None:
        """The configuration, unless it has mistakes, which are added to ``errors``."""
        values = {**self.value, "folder": folder, "file": self.file}
        for section, model in _WITH_OPTIONS.items():
            if isinstance(values.get(section), dict):
                values[section] = {name: _with_options(item, model) for name, item in values[section].items()}
        for key in ("state", "warehouse"):
            values[key] = values.get(key, Config.model_fields[key].default)
            if isinstance(values[key], str):
                values[key] = absolute_url(values[key], folder)
        for key in ("plugins_dir", "templates_dir"):
            if isinstance(values.get(key), str):
                values[key] = folder / values[key]
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            self.errors.extend(errors_of(error, Config, self.place))
            return None
        self.errors.extend(meaning_errors(config, self.place))
        return config

    def _refuse(self, what: str, where: str, hint: str) -> None:
        self.errors.append(ConfigError(what, where=where, hint=hint))


def _with_options(item: Any, model: type[Source | Receiver]) -> Any:
    """The keys that the model does not know, gathered below ``options``."""
    if not isinstance(item, dict):
        return item
    known = set(model.model_fields) - {"options"}
    own = {key: value for key, value in item.items() if key in known}
    return {**own, "options": {key: value for key, value in item.items() if key not in known}}
