"""``kpid config``."""

from __future__ import annotations

import typer

from kpid.cli.output import print_json
from kpid.cli.session import ConfigOption, session_of

app = typer.Typer(help="The configuration itself.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """The configuration itself."""


@app.command()
def schema(context: typer.Context, config: ConfigOption = None) -> int:
    """Print the JSON Schema of the configuration, with the settings of every installed plugin."""
    from kpid.config.load import load_config  # noqa: PLC0415
    from kpid.config.schema import config_schema  # noqa: PLC0415
    from kpid.registry import load_plugins  # noqa: PLC0415

    session = session_of(context, config)
    folder = load_config(session.config_file).config.plugins_dir if session.explicit else None
    print_json(config_schema(load_plugins(plugins_dir=folder)))
    return 0
