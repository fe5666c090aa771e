"""Running kpid as a person does: the command, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.journey.nursery import KPID, OFF, Child, nursery


def _heed_interrupts() -> None:
    """Ctrl-C must reach kpid even where the tests run in the background of a shell, which switches it off."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Shell:
    """A folder with a configuration, and kpid commands run in it."""

    folder: Path
    config: Path
    env: dict[str, str]

    def run(self, *arguments: str, now: str | None = None, ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = nursery().run(self.arguments(*arguments, now=now), self.folder, os.environ | self.env)
        if ok:
            assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def arguments(self, *arguments: str, now: str | None = None) -> list[str]:
        return [*(["--now", now] if now else []), *arguments, "--config", str(self.config)]

    def command(self, *arguments: str, now: str | None = None) -> list[str]:
        return [*KPID, *self.arguments(*arguments, now=now)]

    def start(
        self, *arguments: str, now: str | None = None, log: Path | None = None, anew: bool = OFF
    ) -> subprocess.Popen[bytes] | Child:
        """kpid as a process under way; ``anew``: Python starts it."""
        log = log or self.folder / "kpid.log"
        if not anew:
            return nursery().start(self.arguments(*arguments, now=now), self.folder, os.environ | self.env, log)
        with log.open("ab") as out:
            return subprocess.Popen(
                self.command(*arguments, now=now),
                cwd=self.folder,
                env=os.environ | self.env,
                stdout=out,
                stderr=out,
                preexec_fn=_heed_interrupts,  # noqa: PLW1509  no thread of the tests holds a lock that this needs
            )

    def json(self, *arguments: str, now: str | None = None) -> Any:
        return json.loads(self.run(*arguments, "--format", "json", now=now).stdout)

    def mails(self) -> list[Path]:
        return sorted((self.config.parent / "var" / "mail").glob("*.eml"))


def make_shell(folder: Path, configuration: str, **env: str) -> Shell:
    """A folder with this configuration in ``kpid.yml``."""
    config = folder / "kpid.yml"
    config.write_text(configuration, encoding="utf-8")
    return Shell(folder, config, env)
