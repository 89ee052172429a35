"""`ownware models pull`: download the weights of a model before it is served."""

from typing import Annotated, Literal

import typer

from ownware.console import fail
from ownware.server_options import ModelsFile

Part = Literal["transformer", "text_encoder", "vae", "tokenizer", "scheduler", "processor"]


def pull(
    names: Annotated[
        list[str],
        typer.Argument(help="AIR identifiers or slugs, owner/repository, or one file: owner/repository/file."),
    ],
    models: ModelsFile = None,
    part: Annotated[Part | None, typer.Option(help="Only this part of a repository, such as transformer.")] = None,
) -> None:
    """Download weights from the hub; a download that broke off goes on.

    HF_ENDPOINT names a mirror of the hub, HF_HUB_OFFLINE=1 forbids the network, HF_TOKEN opens gated repositories, and
    HF_HOME is the folder that is filled.
    """
    from ownware.models.pull import pull_source
    from ownware.models.rows import UnknownModel, find_sources, read_catalog
    from pipelines.catalog.hub.errors import HubError
    from pipelines.catalog.models_file import CatalogError
    from server.options.log_options import LogOptions
    from server.process.logs import configure_logs

    configure_logs(LogOptions("info"))
    try:
        catalog = read_catalog(models)
        for source in dict.fromkeys(source for name in names for source in find_sources(catalog, name)):
            typer.echo(pull_source(source, part))
    except (CatalogError, UnknownModel, HubError) as error:
        fail(str(error))
