"""Brings the state store to the schema of this version: all steps in one transaction, after a copy of the file.

An empty one gets its tables as they are declared, and the mark that Alembic would have left: what reads and runs migrations costs
0.1 s and 8 MB, and every process would have it that ever met a new store. Tests hold that both ways lead to the same schema.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from kpid.errors import StoreError
from kpid.store import migrations
from kpid.store.creation import create_tables
from kpid.store.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_MARK = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""Where Alembic looks for the version, as it would make it."""


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for our migrations, made here: there is no ini file to lose."""
    with _plain():
        from alembic.config import Config as AlembicConfig  # noqa: PLC0415 - costs 0.2 s, and only upgrades need it

    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


def schema_version(store: Store) -> str | None:
    """The store's schema; None = it is empty.

    Raises:
        StoreError: it holds tables, but not ours.
    """
    with store.read() as connection:
        return _version(store, connection)


def _version(store: Store, connection: Connection) -> str | None:
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if names:
        hint = "Point `state:` at a file of its own"
        raise StoreError("this database holds tables that are not kpid's state store", where=store.where, hint=hint)
    return None


def bring_up_to_date(store: Store, *, migrate: bool = True) -> str | None:
    """Upgrade the store to this version's schema if it is older.

    Args:
        store: the store, open.
        migrate: False refuses an older store instead of changing it.

    Returns:
        The version it had, None if it was empty.

    Raises:
        StoreError: the store belongs to a newer kpid, is older and must not be changed, or cannot be read or written.
    """
    version = schema_version(store)
    if version == migrations.HEAD:
        return version
    if version is None:
        _create(store)
        return version
    if version not in {revision.revision for revision in _script().walk_revisions()}:
        raise StoreError(
            f"the state store has schema {version}, this kpid knows up to {migrations.HEAD}",
            where=store.where,
            hint="Run the kpid version that made it, or a newer one",
        )
    if not migrate:
        raise StoreError(
            f"the state store has schema {version}, this kpid needs {migrations.HEAD}",
            where=store.where,
            hint="Run `kpid db upgrade`",
        )
    if store.file is not None:
        back_up(store.file, store.file.with_name(f"{store.file.name}.backup-{version}"))
    _upgrade(store)
    return version


def _create(store: Store) -> None:
    with store.write() as connection:
        if _version(store, connection) is None:  # nobody has been quicker
            create_tables(connection)
            connection.execute(text(_MARK))
            connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": migrations.HEAD})


def back_up(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite file, also while it is in use; an existing copy is replaced.

    Raises:
        StoreError: the copy cannot be written.
    """
    half = target.with_name(f"{target.name}.part")
    try:
        half.unlink(missing_ok=True)
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(half)) as new:
            old.backup(new)
        half.replace(target)
    except (OSError, sqlite3.Error) as error:
        hint = "Make room or make the folder writable: kpid does not change a store without a copy"
        raise StoreError(f"no copy of the state store could be made: {error}", where=str(target), hint=hint) from error


@contextmanager
def _plain() -> Iterator[None]:
    """Alembic's templates do without coloured traces: what draws them would stay in memory, 4 MB that nobody ever looks at."""
    known = "pygments" in sys.modules
    if not known:
        sys.modules["pygments"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not known:
            del sys.modules["pygments"]


def _script() -> ScriptDirectory:
    with _plain():
        from alembic.script import ScriptDirectory as Scripts  # noqa: PLC0415

    return Scripts.from_config(alembic_config())


def _upgrade(store: Store) -> None:
    with _plain():
        from alembic import command  # noqa: PLC0415

    with store.write() as connection:
        command.upgrade(alembic_config(connection), "head")
