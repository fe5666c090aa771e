"""A plugin's own settings: the keys of a source or receiver that kpid itself does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from kpid.config.load import Loaded
from kpid.config.model import Receiver, Source
from kpid.config.problems import Key, errors_of, raise_errors
from kpid.config.secrets import redact
from kpid.errors import ConfigError
from kpid.plugin.settings import Settings

S = TypeVar("S", bound=Settings)


def options_of(kind: type[S], options: Mapping[str, Any], loaded: Loaded, path: tuple[Key, ...]) -> S:
    """``options`` as the settings of a plugin.

    Args:
        kind: the plugin's class of settings.
        options: the keys and values as written.
        loaded: where they came from, for the places in errors.
        path: the path of the source or receiver: ``("sources", "crm")``.

    Raises:
        ConfigError: a key is unknown or missing, or a value is wrong; all mistakes at once.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        generic = Source if path[0] == "sources" else Receiver
        also = set(generic.model_fields) - {"options"}
        mistakes = errors_of(error, kind, lambda *keys: loaded.place(*path, *keys), also=also)
    name = ".".join(str(key) for key in path)
    raise_errors([_told(mistake, name, loaded) for mistake in mistakes])
    raise AssertionError  # pragma: no cover - a ValidationError has at least one error


def _told(mistake: ConfigError, name: str, loaded: Loaded) -> ConfigError:
    """The mistake with the source's name, and without secrets that a plugin's own validator may have quoted."""
    return ConfigError(redact(f"{name}: {mistake.what}", loaded.secrets), where=mistake.where, hint=mistake.hint)
