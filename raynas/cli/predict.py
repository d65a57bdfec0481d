"""The command `raynas predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from raynas.cli.options import Csv, Json

app = typer.Typer()


@app.command()
def predict(
    source: Annotated[str, typer.Argument(metavar="FILE-OR-RUN", help="An exported .onnx or .pt2, or a run folder.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="The number of classes to print for each image.")] = 1,
    csv: Csv = False,
    as_json: Json = False,
) -> None:
    """Print the class of images, with its probability.

    For example: raynas predict runs/demo photo.jpg --top 3
    """
    import pandas as pd

    from raynas.networks.predict import predict as predict_images
    from raynas.reporting.terminal import print_json

    rows = predict_images(source, images, top)
    if as_json:
        print_json({"images": rows})
    elif csv:
        print(pd.DataFrame(rows).to_csv(index=False), end="")
    else:
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))
