"""Pure arithmetic that several steps share: no I/O, no store, no plugin."""
