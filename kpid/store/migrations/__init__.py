"""Migrations of the state store. ``HEAD`` is the schema that this version of kpid works with; a test keeps it right."""

HEAD = "0004"
