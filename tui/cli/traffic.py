"""Commands on production traffic: the group, in which each file of them has its part."""

import typer

traffic = typer.Typer(help="Production traffic: what came in, and what it teaches.")
