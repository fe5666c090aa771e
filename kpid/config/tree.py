"""One YAML file as plain values, with the line that each of them stands on.

Stricter than YAML 1.1: duplicate keys, tags, several documents, NaN and infinity are refused; only ``true`` and ``false`` are
truth values, so that ``NO`` stays a country; ``07:30``, ``2017-01-01``, ``007`` and ``1.10`` stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from kpid.config.problems import Key, raise_errors
from kpid.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 40
SAMPLE = "See config/kpid.yml in the README for a configuration to start from"

Keys: TypeAlias = tuple[Key, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[+-]?\.(nan|inf)", re.IGNORECASE)
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "true": True, "True": True, "false": False, "False": False}


@dataclass(frozen=True)
class Tree:
    """The values of one file. ``places`` maps the path of each key and item to ``file:line``."""

    value: dict[str, Any]
    places: dict[Keys, str]


def read_tree(file: Path) -> Tree:
    """Read one YAML file whose top level is a mapping.

    Raises:
        ConfigError: it cannot be read, or is not such a file; all mistakes of the file are told at once.
    """
    text = _text_of(file)
    node = _composed(text, file)
    if node is None:
        raise ConfigError("the file is empty", where=f"{file}:1", hint=SAMPLE)
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise ConfigError(
            f"the file holds {kind}, not keys with values",
            where=f"{file}:{node.start_mark.line + 1}",
            hint="Begin with a key such as rules:",
        )
    reader = _Reader(file)
    value = reader.value_of(node, ())
    raise_errors(reader.errors)
    return Tree(value, reader.places)


def _text_of(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"the file has {size:,} bytes; {MAX_BYTES:,} are allowed",
                where=str(file),
                hint="Split it into files that include: names",
            )
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=str(file), hint=f"{SAMPLE}, or name another with --config FILE"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8 text (byte {error.start})", where=str(file), hint="Save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}", where=str(file), hint="Check its path and permissions"
        ) from None


def _composed(text: str, file: Path) -> yaml.Node | None:
    try:
        _refuse_depth(text, file)
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from None
    except yaml.YAMLError:
        raise ConfigError(
            "the file holds characters that YAML does not allow", where=str(file), hint="Remove control characters"
        ) from None
    return node


def _refuse_depth(text: str, file: Path) -> None:
    """Refuse deep nesting before nodes are made of it: making them recurses, and would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _too_deep(f"{file}:{event.start_mark.line + 1 if event.start_mark else 1}")


def _too_deep(where: str) -> ConfigError:
    return ConfigError(
        f"values are nested deeper than {MAX_DEPTH} levels", where=where, hint="Look for brackets that are not closed"
    )


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: Path) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    number = min(mark.line if mark else 0, max(len(lines) - 1, 0))
    where = f"{file}:{number + 1}"
    problem = error.problem or "it cannot be read"
    for near in (number, number - 1):
        if 0 <= near < len(lines) and re.match(r"\s*\t", lines[near]):
            return ConfigError("a tab indents this line", where=f"{file}:{near + 1}", hint="YAML wants blanks: use two per level")
    if "document" in problem and "expected a single" in f"{error.context}{problem}":
        return ConfigError("the file holds more than one document", where=where, hint="Remove the line ---")
    if "undefined alias" in problem:
        return ConfigError("an alias *name has no anchor &name", where=where, hint="Quote texts that begin with an asterisk")
    return ConfigError(
        f"this is not valid YAML: {problem}",
        where=where,
        hint="Look at the indentation and at quotes, colons and brackets on this line and before",
    )


@dataclass
class _Reader:
    file: Path
    errors: list[ConfigError] = field(default_factory=list)
    places: dict[Keys, str] = field(default_factory=dict)
    count: int = 0

    def value_of(self, node: yaml.Node, path: Keys) -> Any:
        """The plain value of a node; mistakes are gathered in ``errors``."""
        self.count += 1
        if self.count > MAX_VALUES:
            raise ConfigError(
                f"the file has more than {MAX_VALUES:,} values",
                where=self._place(node),
                hint="Do aliases refer to aliases? Split the file",
            )
        if len(path) > MAX_DEPTH:
            raise _too_deep(self._place(node))
        self.places.setdefault(path, self._place(node))
        if node.tag not in _PLAIN_TAGS:
            self._refuse(node, f"the tag {_short(node.tag)} is not allowed", "Write the value without a tag")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(item, (*path, number)) for number, item in enumerate(node.value)]
        return self._scalar(node, node.value)

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str, Any]:
        own: dict[str, yaml.Node] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                merged = {**dict(self._merged(value_node)), **merged}
                continue
            key = self._key(key_node)
            if key in own:
                first = own[key].start_mark.line + 1
                self._refuse(key_node, f"{key!r} stands here a second time", f"The first is on line {first}: keep one of them")
                continue
            own[key] = key_node
            merged[key] = (key_node, value_node)
        result = {}
        for key, (key_node, value_node) in merged.items():
            self.places[(*path, key)] = self._place(key_node)
            result[key] = self.value_of(value_node, (*path, key))
        return result

    def _merged(self, node: yaml.Node) -> Iterator[tuple[str, tuple[yaml.Node, yaml.Node]]]:
        """Keys of the mappings that ``<<:`` takes over; the first mapping of a list wins."""
        for mapping in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(mapping, yaml.MappingNode):
                self._refuse(mapping, "<<: takes over the keys of a mapping, and this is none", "Write <<: *name")
                return
            for key_node, value_node in mapping.value:
                yield self._key(key_node), (key_node, value_node)

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
            return str(node.value)
        self._refuse(node, "a key must be a plain text", "Quote it")
        return ""

    def _scalar(self, node: yaml.Node, text: str) -> Any:
        if (isinstance(node, yaml.ScalarNode) and node.style) or node.tag.endswith(":str"):
            return text
        if _NOT_A_NUMBER.fullmatch(text):
            self._refuse(node, f"{text} is not a number that can be used", "Write a finite number")
            return None
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        return _number_or_text(text)

    def _place(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"

    def _refuse(self, node: yaml.Node, what: str, hint: str) -> None:
        self.errors.append(ConfigError(what, where=self._place(node), hint=hint))


def _number_or_text(text: str) -> int | float | str:
    """A number only if it prints as it was written: ``007`` and ``1.10`` lose nothing as text, and fit where numbers do."""
    if _NUMBER.fullmatch(text) and len(text) < 18:
        number = float(text) if "." in text else int(text)
        return number if str(number) == text else text
    return text


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:80]
