"""``kpid db``."""

from __future__ import annotations

import typer

from kpid.cli.output import say
from kpid.cli.session import ConfigOption, need_config, session_of

app = typer.Typer(help="The state store.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """The state store."""


@app.command()
def upgrade(context: typer.Context, config: ConfigOption = None) -> int:
    """Bring the state store to this version's schema; a copy of a SQLite file is made before."""
    from kpid import control  # noqa: PLC0415
    from kpid.clock import SystemClock  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.store import migrations  # noqa: PLC0415
    from kpid.store.engine import Store  # noqa: PLC0415
    from kpid.store.migrate import bring_up_to_date  # noqa: PLC0415

    settings = load_config(need_config(session_of(context, config))).config
    lock = control.lock_path_for(control.guarded_file(settings))
    with control.hold(lock, "kpid db upgrade", SystemClock(), wait=5):
        store = Store(settings.state)
        try:
            before = bring_up_to_date(store)
        finally:
            store.close()
    if before == migrations.HEAD:
        say(f"{store.where} has schema {before}: nothing to do")
    else:
        say(f"{store.where} now has schema {migrations.HEAD} (before: {before or 'none'})")
    return 0
