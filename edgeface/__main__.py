"""`python -m edgeface`."""

from __future__ import annotations

from edgeface.cli.start import run

if __name__ == "__main__":
    run()
