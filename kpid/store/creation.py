"""Makes the tables of an empty state store, as :mod:`kpid.store.tables` declares them, and what else the database sees to."""

from __future__ import annotations

from sqlalchemy import Connection, text

from kpid.store.tables import metadata

_REFUSED = "the audit log is append-only"


def create_tables(connection: Connection) -> None:
    """Make all tables in a database that has none of them; the audit log refuses changes."""
    metadata.create_all(connection, checkfirst=False)
    for statement in _GUARDS[connection.dialect.name]:
        connection.execute(text(statement))


_GUARDS = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        for change in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        (
            "CREATE OR REPLACE FUNCTION kpid_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
        ),
        (
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION kpid_audit_is_append_only()"
        ),
    ],
}
"""The same as migration 0003 makes, by dialect."""
