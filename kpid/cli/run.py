"""``kpid run``: the daemon, or one round of what it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpid.cli.output import complain, progress_shown, say
from kpid.cli.session import ConfigOption, Session, need_config, opened, session_of

if TYPE_CHECKING:
    from kpid.commands.once import Round


def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Do everything there is to do now, then exit.")] = False,
    config: ConfigOption = None,
) -> int:
    """Start the daemon. SIGTERM drains and stops it, SIGHUP makes it read its configuration again.

    In an empty folder, a sample configuration and sample data are written first.
    """
    session = session_of(context, config)
    if not session.explicit and not any(Path.cwd().iterdir()):
        _write_sample(session)
    need_config(session)
    if once:
        return _one_round(session)
    from kpid.daemon import run_daemon  # noqa: PLC0415

    return run_daemon(session.config_file, session.clock())


def _write_sample(session: Session) -> None:
    from kpid.sample import SEED, write_configuration, write_sample  # noqa: PLC0415

    folder = session.config_file.parent
    for file in write_configuration(folder):
        say(f"wrote {file}")
    data = folder / "var" / "sample"
    rows = write_sample(data, seed=SEED, now=session.clock().now())
    say(f"wrote {data}: {sum(rows.values()):,} rows of an invented company")


def _one_round(session: Session) -> int:
    from kpid import control, logs  # noqa: PLC0415
    from kpid.clock import SystemClock  # noqa: PLC0415
    from kpid.commands.check_templates import refuse_all_mistakes  # noqa: PLC0415
    from kpid.commands.once import run_once  # noqa: PLC0415
    from kpid.commands.overview import overview  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.registry import secrets_of  # noqa: PLC0415

    lock = control.lock_path_for(control.guarded_file(load_config(session.config_file).config))
    with control.hold(lock, "kpid run --once", SystemClock(), wait=30), opened(session, "write") as app:
        refuse_all_mistakes(app)
        logs.set_up(app.config.logging.format, "warning", secrets_of(app.loaded, app.plugins))
        with progress_shown() as progress:
            done = run_once(app, progress=progress)
        _print(done)
        for line in overview(app):
            say(line)
    return 1 if done.failures or done.delivered.dead else 0


def _print(done: Round) -> None:
    from kpid.analysis.wording import count_text  # noqa: PLC0415

    for result in done.refreshed.synced:
        say(f"synced {result.source}: {result.rows:,} rows read, {result.changed:,} changed")
    for name, why in done.deferred:
        say(f"{name} {why}")
    for name in done.published:
        say(f"wrote report {name}")
    waiting = f", waiting for another try: {done.waiting}" if done.waiting else ""
    say(f"sent {count_text(done.delivered.sent, 'message')}{waiting}")
    for what, why in done.failures:
        complain(f"{what}: {why}")
