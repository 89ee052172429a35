"""`ownware serve`: start the server."""

import typer

from ownware.server_options import read_settings


# `Settings` declares the options of `serve`, so they are passed on unread, `--help` included.
def serve(context: typer.Context) -> None:
    """Start the server; `ownware serve --help` lists the options."""
    settings = read_settings(context.args)
    # A worker process imports this module again before it starts: the web server must stay out of it.
    from server.run import serve as run_server

    raise typer.Exit(run_server(settings))
