"""The state store: everything kpid must remember, in SQLite or PostgreSQL."""
