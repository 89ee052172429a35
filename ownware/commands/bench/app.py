"""`ownware bench`: measure step caches and batches on this machine, and choose what the results recommend."""

import typer

from ownware.commands.bench.batching import batching
from ownware.commands.bench.caches import caches
from ownware.commands.bench.recommend import recommend
from ownware.commands.bench.report import report
from ownware.commands.simulate import simulate
from ownware.server_options import PASS_THROUGH

app = typer.Typer(help="Measure step caches and batches on this machine.", no_args_is_help=True)
app.command(**PASS_THROUGH)(caches)
app.command(**PASS_THROUGH)(batching)
app.command()(report)
app.command()(recommend)
app.command("replay", hidden=True)(simulate)  # the former name of `ownware simulate`
