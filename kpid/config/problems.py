"""Mistakes in a configuration: gathered, with their places, and told all at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kpid.errors import ConfigError

Key: TypeAlias = str | int
Place: TypeAlias = Callable[..., str]
"""Keys of a path to ``file:line``."""


MAX_LINES = 40
_PIECE = re.compile(r"[()'=<>+*/\"]")
"""What is in no key, but in the piece of an expression that a comma has cut off."""
_PLACE = re.compile(r"(.*?):([0-9]+)(?::([0-9]+))?")


class ConfigErrors(ConfigError):  # noqa: N818 - several of them
    """Every mistake found, one line each (a screenful at most). ``errors`` holds them one by one."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        rest = len(errors) - MAX_LINES
        lines = [str(error) for error in errors[:MAX_LINES]] + ([f"... and {rest} more"] if rest > 0 else [])
        super().__init__("\n".join(lines))
        self.errors = tuple(errors)


def raise_errors(errors: Sequence[ConfigError]) -> None:
    """Raise what was gathered, if anything was: one mistake as itself, several together in the order of their lines."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(sorted(errors, key=_reading_order))


def _reading_order(error: ConfigError) -> tuple[str, int, int]:
    """File, line and column: ``kpid.yml:12`` or ``kpid.yml:12:40``."""
    found = _PLACE.fullmatch(error.where or "")
    return (found[1], int(found[2]), int(found[3] or 0)) if found else (error.where or "", 0, 0)


def each_error(error: ConfigError) -> Iterator[ConfigError]:
    """The single mistakes behind ``error``."""
    yield from error.errors if isinstance(error, ConfigErrors) else (error,)


def near_miss(wanted: str, known: Iterable[str], *, what: str = "Known") -> str:
    """What to say when ``wanted`` is not among ``known``: the likely spelling, or all there are."""
    names = sorted(set(known))
    folded = {name.casefold().replace("-", "_"): name for name in names}
    close = difflib.get_close_matches(wanted.casefold().replace("-", "_"), folded, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {folded[close[0]]!r}?"
    if not names:
        return f"{what}: none"
    return f"{what}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"


def errors_of(error: ValidationError, model: type[BaseModel], place: Place, *, also: Iterable[str] = ()) -> list[ConfigError]:
    """A pydantic error as ours, one per mistake. No value is ever printed, only what our own validators quote.

    Args:
        error: what pydantic raised.
        model: the model that it validated.
        place: from a path of keys below the validated value to ``file:line``.
        also: further keys that are known at the top (for suggestions).
    """
    found = error.errors(include_input=False, include_url=False)
    return [_error_of(item, model, place, also) for item in found if not _only_follows(item["loc"], item["type"], found)]


def _only_follows(loc: Sequence[Key], kind: str, found: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a list counts as empty for no other reason than that what is in it is wrong."""
    return kind == "too_short" and any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in found)


def _error_of(item: Any, model: type[BaseModel], place: Place, also: Iterable[str]) -> ConfigError:
    loc: tuple[Key, ...] = tuple(key for key in item["loc"] if key != "[key]")
    holder, key = _model_at(model, loc[:-1]), str(loc[-1]) if loc else ""
    hint: str | None = _help(holder, key)
    match item["type"]:
        case "extra_forbidden":
            known = {*_keys_of(holder), *(also if len(loc) == 1 else ())} if holder else set()
            what, hint = f"unknown key {key!r}", near_miss(key, known, what="Known keys")
            if _PIECE.search(key):
                hint = "Is it a piece of the text before it? Texts with commas or colons stand in quotes"
        case "missing":
            what = f"{_path(loc)} is missing"
        case "string_pattern_mismatch" if item["loc"][-1:] == ("[key]",):
            what, hint = f"{key!r} cannot be a name here", "Use letters, digits, dots, dashes and underscores only"
        case "value_error":
            subject = f"{_path(loc)}: " if loc and not isinstance(loc[-1], int) else ""
            what, hint = f"{subject}{item['ctx']['error']}", None
        case kind:
            what = f"{_path(loc)} {_said(kind, item['msg'], explained=bool(hint))}"
    return ConfigError(what, where=place(*loc), hint=hint)


def _said(kind: str, message: str, *, explained: bool) -> str:
    plain = {
        "string_type": "must be a text: put it in quotes",
        "string_sub_type": "must be a text: put it in quotes",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must be a mapping of keys to values",
        "mapping_type": "must be a mapping of keys to values",
        "model_type": "must be a mapping of keys to values",
        "too_short": "must not be empty",
    }
    if kind in plain:
        return plain[kind]
    if kind == "string_pattern_mismatch" and explained:
        return "is not written as it must be"
    for start, ours in (("Input should be", "must be"), ("String should", "must"), ("Value should", "must")):
        if message.startswith(start):
            return ours + message[len(start) :]
    return message[:1].lower() + message[1:]


def _path(loc: Sequence[Key]) -> str:
    """The keys, without the position in a list of mappings: the place says more than ``rules[17]``."""
    numbered = [position for position, key in enumerate(loc[:-1]) if isinstance(key, int)]
    loc = loc[numbered[0] + 1 :] if numbered else loc
    text = ""
    for key in loc:
        text += f"[{key + 1}]" if isinstance(key, int) else f".{key}" if text else key
    return text or "the configuration"


def _help(holder: type[BaseModel] | None, key: Key) -> str | None:
    for name, field in holder.model_fields.items() if holder else ():
        if key in (name, field.alias) and field.description:
            return field.description.removesuffix(".")
    return None


def _keys_of(model: type[BaseModel]) -> Iterator[str]:
    hidden = {"options", "folder", "file"} if model.__module__ == "kpid.config.model" else set()
    for name, field in model.model_fields.items():
        if name not in hidden:
            yield field.alias or name


def _model_at(model: type[BaseModel] | None, loc: Sequence[Key]) -> type[BaseModel] | None:
    """The model that the keys of ``loc`` lead to, if it is one."""
    kind: Any = model
    for key in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found = [field.annotation for name, field in kind.model_fields.items() if key in (name, field.alias)]
            kind = _unwrapped(found[0]) if found else None
        else:
            arguments = get_args(kind)
            item = arguments[-1] if isinstance(_origin(kind), type) and issubclass(_origin(kind), Mapping) else arguments[:1]
            kind = _unwrapped(item[0] if isinstance(item, tuple) and item else item)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _unwrapped(annotation: Any) -> Any:
    """The inner type of ``X | None`` and ``Annotated[X, ...]``."""
    arguments = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _unwrapped(arguments[0])
    if type(None) in arguments:
        return _unwrapped(next(argument for argument in arguments if argument is not type(None)))
    return annotation
