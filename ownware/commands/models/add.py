"""`ownware models add`: write a row into the user's models file."""

from typing import Annotated, Literal

import typer

from ownware.console import fail
from ownware.server_options import ModelsFile

Mode = Literal["text_to_image", "edit", "edit_plus"]
Kind = Literal["model", "lora", "controlnet"]


def add(
    air: Annotated[str, typer.Argument(help="The identifier that tasks will use, such as my:qwen@1.")],
    weights: Annotated[str, typer.Argument(help="A folder or a hub name; of a LoRA a file, or owner/repository/file.")],
    models: ModelsFile = None,
    kind: Annotated[Kind, typer.Option(help="What the row is.")] = "model",
    name: Annotated[str | None, typer.Option(help="For modelSearch; default: the end of the weights.")] = None,
    slug: Annotated[list[str] | None, typer.Option(help="Another name for tasks; may be repeated.")] = None,
    mode: Annotated[Mode, typer.Option(help="What a model does.")] = "text_to_image",
    steps: Annotated[int, typer.Option(help="Default number of steps of a model.")] = 20,
    guidance: Annotated[float, typer.Option(help="Default guidance scale of a model.")] = 4.0,
    transformer: Annotated[str | None, typer.Option(help="A file or folder instead of their transformer.")] = None,
    text_encoder: Annotated[str | None, typer.Option(help="A file or folder instead of their text encoder.")] = None,
    text_encoder_mmproj: Annotated[
        str | None, typer.Option(help="The vision tower of a text encoder in GGUF; default: the one beside it.")
    ] = None,
    vae: Annotated[str | None, typer.Option(help="A file or folder instead of their VAE.")] = None,
) -> None:
    """Add a model, a LoRA or a ControlNet to your models file; comments and rows in it stay as they are."""
    from ownware.models.add import add_row, path_in_row
    from ownware.models.rows import models_file
    from pipelines.catalog.models_file import CatalogError

    file = models_file(models)
    if file is None:
        fail("name your models file with --models FILE or OWNWARE_MODELS; the built-in one is not changed")
    row: dict[str, str | int | float | tuple[str, ...]] = {
        "air": air,
        "name": name or weights.rstrip("/").split("/")[-1],
    }
    if slug:
        row["slugs"] = tuple(slug)
    row["weights"] = path_in_row(weights, file)
    if kind == "model":
        architecture = "qwen_image" if mode == "text_to_image" else "qwen_image_edit"
        row |= {"version": "1.0", "architecture": architecture, "mode": mode}
        row |= {"steps": steps, "true_cfg_scale": guidance}
        own = {
            "transformer": transformer,
            "text_encoder": text_encoder,
            "text_encoder_mmproj": text_encoder_mmproj,
            "vae": vae,
        }
        row |= {key: path_in_row(path, file) for key, path in own.items() if path is not None}
    try:
        add_row(file, {"model": "models", "lora": "loras", "controlnet": "controlnets"}[kind], row)
    except (CatalogError, OSError) as error:
        fail(str(error))
    typer.echo(f"{file}: {air} is added")
