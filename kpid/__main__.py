"""``python -m kpid``: the command line."""

from __future__ import annotations

from kpid.cli import main

if __name__ == "__main__":
    main()
