"""Where a mistake inside a text of the configuration stands: file, line and column, and the line with a mark under it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kpid.config.load import Loaded
from kpid.config.problems import Key
from kpid.config.secrets import redact
from kpid.errors import ConfigError

_WIDTH = 100


@dataclass(frozen=True)
class _Spot:
    """``line`` and ``column`` in the file, from 1; the column is None where the file writes the text in another way."""

    line: int
    column: int | None


def mistake_at(loaded: Loaded, path: tuple[Key, ...], text: str, error: ConfigError, start: int, end: int) -> ConfigError:
    """The mistake with its place in the file and the marked line.

    Args:
        loaded: the configuration.
        path: the keys that lead to the text.
        text: the text, as read.
        error: what is wrong.
        start: where in the text the wrong part begins.
        end: where it ends.
    """
    file, _, line = loaded.place(*path).rpartition(":")
    spot = _spot(Path(file), int(line), f"{path[-1]}:", text, start)
    column = "" if spot.column is None else f":{spot.column}"
    what = redact(f"{'.'.join(str(key) for key in path)}: {error.what}", loaded.secrets)
    marked = redact(_marked(text, start, end), loaded.secrets)
    hint = f"{redact(error.hint, loaded.secrets)}\n{marked}" if error.hint else f"Look at\n{marked}"
    return ConfigError(what, where=f"{file}:{spot.line}{column}", hint=hint)


def _marked(text: str, start: int, end: int) -> str:
    """The line of the text that ``start`` is in, with carets under the part."""
    begin = text.rfind("\n", 0, start) + 1
    line = text[begin:].partition("\n")[0]
    left = max(0, start - begin - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[left : left + _WIDTH]
    place = start - begin - left
    length = max(1, min(end - start, len(shown) - place))
    return f"    {shown}\n    {' ' * place}{'^' * length}"


def _spot(file: Path, line: int, key: str, text: str, start: int) -> _Spot:
    """Where the character ``start`` of a text that begins behind its key, or on a line below, stands."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return _Spot(line, None)
    begin = text.rfind("\n", 0, start) + 1
    wanted = text[begin:].partition("\n")[0]
    skipped = text.count("\n", 0, start)
    for spelt, moved in _spellings(wanted, start - begin):
        for number in range(line - 1, min(line + skipped + 2, len(lines))):
            after = max(0, lines[number].find(key)) if number == line - 1 else 0
            found = lines[number].find(spelt, after + len(key) if after else 0) if spelt.strip() else -1
            if found >= 0:
                return _Spot(number + 1, found + moved + 1)
    return _Spot(line, None)


def _spellings(text: str, start: int) -> Iterator[tuple[str, int]]:
    """How a text may stand in YAML, and where in it its character ``start`` is then."""
    yield text, start
    yield text.replace("'", "''"), start + text.count("'", 0, start)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    yield escaped, len(text[:start].replace("\\", "\\\\").replace('"', '\\"'))
