"""`ownware doctor`: what would stop the server, and what is worth knowing before it starts."""

import typer

from ownware.server_options import read_settings

STOPPED = 1


def doctor(context: typer.Context) -> None:
    """Check the data folder, its database, devices, models, plan, extras, clock, keys and ports: one line each.

    Takes the options of `serve`, and changes nothing. The exit status is 1 if something stops the server.
    """
    from itertools import chain

    from ownware.doctor.data_folder import check_database, check_folder
    from ownware.doctor.machine import check_extras, check_keys, check_ports
    from ownware.doctor.models import check_devices_and_models

    settings = read_settings(context.args)
    stopped = False
    for finding in chain(
        check_folder(settings.data_dir),
        check_database(settings.data_dir),
        check_devices_and_models(settings),
        check_extras(settings),
        check_keys(settings),
        check_ports(settings),
    ):
        typer.echo(str(finding))
        stopped = stopped or finding.state == "stops"
    if stopped:
        raise typer.Exit(STOPPED)
