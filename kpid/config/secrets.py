"""References to values that do not belong into a file, and keeping secrets out of what kpid prints.

``${env:NAME}`` is an environment variable, ``${file:PATH}`` the text of a file (relative to the configuration's folder),
``${cred:NAME}`` a file in ``$CREDENTIALS_DIRECTORY`` (systemd's ``LoadCredential=``). ``$${`` stands for a plain ``${``.

What counts as a secret, and is replaced by stars in logs and errors:

* every text of ``${file:}`` and ``${cred:}``;
* every value that ends in a plugin setting of type :class:`~kpid.plugin.Secret`, wherever it came from (:func:`secrets_in`);
* the password inside a URL (``postgresql://kpid:PASSWORD@db/kpid``).

A ``${env:}`` that is none of these (a folder, a host name) is not: stars in its place would only make a log unreadable. Texts
shorter than four characters are never replaced, for the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr

from kpid.config.problems import near_miss
from kpid.errors import ConfigError
from kpid.plugin.redact import STARS, forms_of

MAX_FILE = 65_536

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]+)@", re.IGNORECASE)


@dataclass(frozen=True)
class References:
    """Where references point to.

    Args:
        environ: the environment.
        folder: the configuration's folder.
    """

    environ: Mapping[str, str]
    folder: Path

    def resolve(self, text: str, where: str) -> tuple[str, frozenset[str]]:
        """``text`` with its references replaced, and the secrets among what replaced them.

        Raises:
            ConfigError: a reference is misspelt or leads nowhere; its value is never part of the error.
        """
        secrets: set[str] = set()

        def value(found: re.Match[str]) -> str:
            if found[1] is None:
                return "${"
            if not found[0].endswith("}"):
                raise ConfigError("a reference ${... is not closed", where=where, hint="Write ${env:NAME}, or $${ for a plain ${")
            scheme, colon, name = found[1].partition(":")
            text = self._value(scheme.strip(), name.strip(), where) if colon else _no_scheme(scheme, where)
            if scheme.strip() != "env":
                secrets.add(text)
            return text

        resolved = _REFERENCE.sub(value, text)
        secrets.update(passwords_in(resolved))
        return resolved, frozenset(secrets)

    def _value(self, scheme: str, name: str, where: str) -> str:
        if scheme == "env":
            return self._variable(name, where)
        if scheme == "file":
            return _text_of(self.folder / Path(name).expanduser(), f"${{file:{name}}}", where)
        if scheme == "cred":
            return self._credential(name, where)
        hint = near_miss(scheme, ("env", "file", "cred"))
        raise ConfigError(
            f"${{{scheme}:...}} is no kind of reference",
            where=where,
            hint=f"{hint} Write ${{env:NAME}}, ${{file:PATH}} or ${{cred:NAME}}",
        )

    def _variable(self, name: str, where: str) -> str:
        value = self.environ.get(name)
        if value is None:
            raise ConfigError(
                f"the environment variable {name} is not set", where=where, hint=f"Start kpid with {name}=... in its environment"
            )
        if not value:
            raise ConfigError(f"the environment variable {name} is empty", where=where, hint="Give it a value")
        return value

    def _credential(self, name: str, where: str) -> str:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ConfigError(
                f"${{cred:{name}}} needs $CREDENTIALS_DIRECTORY, which is not set",
                where=where,
                hint=f"Run kpid as a systemd service with LoadCredential={name}:PATH, or use ${{file:PATH}}",
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a credential",
                where=where,
                hint="Use letters, digits, dots, dashes and underscores",
            )
        return _text_of(Path(folder) / name, f"${{cred:{name}}}", where)


def _no_scheme(name: str, where: str) -> str:
    raise ConfigError(
        f"${{{name}}} does not say where its value is",
        where=where,
        hint=f"Write ${{env:{name or 'NAME'}}}, or $${{ for a plain ${{",
    )


def _text_of(file: Path, reference: str, where: str) -> str:
    try:
        if file.stat().st_size > MAX_FILE:
            raise ConfigError(f"{reference}: {file} is larger than {MAX_FILE:,} bytes", where=where, hint="Is it the right file?")
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{reference}: {file} is not UTF-8 text", where=where, hint="Is it the right file?") from None
    except OSError as error:
        raise ConfigError(
            f"{reference}: {file} cannot be read: {error.strerror}", where=where, hint="Check its path and permissions"
        ) from None
    if not text:
        raise ConfigError(f"{reference}: {file} is empty", where=where, hint="Put the secret into it")
    return text


def passwords_in(text: str) -> Iterator[str]:
    """Passwords in the URLs of a text, quoted and unquoted."""
    for found in _PASSWORD.finditer(text):
        yield found[1]
        yield unquote(found[1])


def secrets_in(settings: object) -> frozenset[str]:
    """The texts of all fields of type Secret in a plugin's settings, however deep."""
    return frozenset(_walk(settings))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
        yield from passwords_in(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, str):
        yield from passwords_in(value)


def mask_of(settings: object) -> Callable[[str], str]:
    """Replaces the secrets of a plugin's settings by stars, in what the plugin says."""
    secrets = secrets_in(settings)
    return lambda text: redact(text, secrets)


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret replaced by stars, also where it is URL-quoted, in base64 (at any offset) or in JSON."""
    pattern = _pattern(frozenset(secrets))
    return pattern.sub(STARS, text) if pattern else text


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets for form in forms_of(secret)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
