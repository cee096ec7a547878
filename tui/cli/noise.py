"""The command noise: how many of a model's answers a change of the batch alone flips."""

from typing import Annotated

import typer

from tui.cli.common import Json, Plan
from tui.text.output import Column, err, interval, number, out, paragraph, print_json, print_table

Sample = Annotated[int, typer.Option("--sample", min=1, metavar="N", help="How many examples to measure on.")]


def noise(plan: Plan, sample: Sample = 50, json: Json = False) -> None:
    """Measure the noise floor of a plan's local models: the share of answers that the batch alone changes.

    Each example is answered alone, in one batch with the others, and in two batches of another order. Nothing
    is recorded.
    """
    from engine.errors import BadInput
    from engine.phases.noise import noise_of
    from engine.plan.plan import read_plan
    from store.read.history import as_values

    read = read_plan(plan)
    if all(model.kind != "local" for model in read.models):
        raise BadInput(
            f"{plan} has no model that runs here", "the noise floor is that of weights: give a path"
        )
    found = []
    for model, floor in noise_of(read, sample):
        err(f"{model.name}: measured on {floor.n} examples")
        found.append((model.name, floor))
    if json:
        print_json([{"model": name, **as_values(floor)} for name, floor in found])
        return
    columns = [Column("model"), Column("changed", True), Column("of", True), Column("share", True)]
    columns += [Column("95% interval"), Column("first changed token", True), Column("unanswered", True)]
    print_table(
        columns,
        [
            [
                *(
                    name,
                    str(floor.changed),
                    str(floor.n),
                    number(floor.share),
                    interval(floor.low, floor.high),
                ),
                *(number(floor.first_token), str(floor.unanswered)),
            ]
            for name, floor in found
        ],
    )
    out()
    paragraph("A change of the batch alone flips that share of answers: smaller differences say nothing.")
