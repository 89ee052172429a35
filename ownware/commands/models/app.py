"""`ownware models`: the models of the models file, and their weights on this machine."""

import typer

from ownware.commands.models.add import add
from ownware.commands.models.check import check
from ownware.commands.models.list import list_models
from ownware.commands.models.plan import plan
from ownware.commands.models.pull import pull
from ownware.commands.models.remove import remove
from ownware.server_options import PASS_THROUGH

app = typer.Typer(help="Models and their weights: what is here, what is not, and what fits.", no_args_is_help=True)
app.command("list")(list_models)
app.command()(pull)
app.command()(add)
app.command()(check)
app.command()(remove)
app.command(**PASS_THROUGH)(plan)
