"""edgeface bundle: what is done with bundles as files."""

from __future__ import annotations

import typer

from edgeface.cli import bundle_sign

__all__ = ["app"]

app = typer.Typer(help="Bundles as files: keys, signatures.", no_args_is_help=True)


@app.callback()
def bundle() -> None:
    """Bundles as files: keys, signatures."""


for module in (bundle_sign,):
    module.register(app)
