"""The `edgeface` command. Heavy packages are imported inside the commands that need them, so --help is fast."""

from __future__ import annotations

from edgeface.cli import (
    benchmark,
    build,
    bundle,
    calibrate,
    compare,
    convert,
    data,
    demo,
    device,
    distill,
    doctor,
    evaluate,
    export,
    gallery,
    inspect,
    profile,
    prune,
    reproduce,
    stream,
    train,
)
from edgeface.cli.start import new_app, run

__all__ = ["app", "run"]

app = new_app()

MODULES = (
    train,
    distill,
    convert,
    profile,
    prune,
    evaluate,
    export,
    build,
    inspect,
    compare,
    doctor,
    device,
    stream,
    benchmark,
    demo,
    reproduce,
)
for module in MODULES:
    module.register(app)
app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(gallery.app, name="gallery")


if __name__ == "__main__":
    run()
