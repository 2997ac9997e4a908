"""edgeface bundle: what is done with a bundle as a whole."""

from __future__ import annotations

import typer

from edgeface.cli import bundle_copy, bundle_deepstream, bundle_import, bundle_sign

__all__ = ["app"]

app = typer.Typer(help="Bundles: from elsewhere, copies, for DeepStream; keys and signatures.", no_args_is_help=True)
for module in (bundle_import, bundle_copy, bundle_deepstream, bundle_sign):
    module.register(app)
