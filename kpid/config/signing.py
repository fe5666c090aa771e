"""With which key the links and buttons of messages are signed, and what they offer: from the configuration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from kpid.analysis.tokens import offered, signing_key
from kpid.config.model import Config
from kpid.config.secrets import secrets_in
from kpid.plugin.notifier import Action, Notifier

Actions: TypeAlias = Callable[[str, str, datetime], tuple[Action, ...]]
"""(subject, recipient, now) -> what the recipient may do about the subject."""


def signing_key_of(config: Config, notifiers: Iterable[Notifier[Any]]) -> str:
    """The secret of ``web:``; without it one made of the secrets of those receivers whose buttons come back; empty if none."""
    listening = (secret for one in notifiers if one.listens for secret in secrets_in(one.settings))
    return signing_key(config.web.secret if config.web else None, listening)


def actions_of(config: Config, notifiers: Iterable[Notifier[Any]]) -> Actions:
    """What messages offer their readers: nothing, where neither pages nor buttons are configured."""
    return partial(offered, key=signing_key_of(config, notifiers), url=config.web.url if config.web else None)
