"""What a run is on: a run that goes on elsewhere does so only when told, since its numbers may differ."""

from typing import Any

from engine.errors import CannotRun
from engine.phases.work import Work
from engine.plan.plan import Plan
from engine.run.environment import describe
from store import tables

OPTION = "other_hardware"
_EARLIER = "earlier_devices"


def hold_to_hardware(work: Work) -> dict[str, Any]:
    """The environment to record with the run: that of its beginning, or this one with the earlier devices.

    Raises CannotRun on other devices than before, unless the run was told to go on there; the permission is
    for once. A dtype of "auto" stays what it came to where the run began.
    """
    before = work.recorder.run()["environment"]
    if before is None:
        return describe(work.plan)
    environment = dict(before)
    if any(model.kind == "local" for model in work.plan.models):
        environment = _checked(work, before)
    if _EARLIER in environment:
        work.plan = _at_the_first_dtype(work)
    return environment


def _checked(work: Work, before: dict[str, Any]) -> dict[str, Any]:
    now = describe(work.plan)
    if set(before["devices"]) == set(now["devices"]):
        return before
    moved = f"began on {_names(before)}; this is {_names(now)}"
    if not work.options.pop(OPTION, False):
        raise CannotRun(
            f"the run {moved}: numbers may differ",
            f"resume it there, or go on here with `assay resume {work.recorder.run_id} --other-hardware`",
        )
    work.recorder.set_run(options=work.options)
    work.recorder.event("warning", "run", f"goes on on other hardware, as it was told: it {moved}")
    return now | {_EARLIER: [*before.get(_EARLIER, []), before["devices"]]}


def _names(environment: dict[str, Any]) -> str:
    return ", ".join(dict.fromkeys(environment["devices"]))


def _at_the_first_dtype(work: Work) -> Plan:
    """The plan with "auto" replaced by what answers stand in already: two dtypes would be two models."""
    rows = work.recorder.rows(tables.Model, run_id=work.recorder.run_id)
    known = {row["name"]: (row["details"] or {}).get("dtype") for row in rows}
    autos = [model.name for model in work.plan.models if model.kind == "local" and model.dtype == "auto"]
    first = next((known[name] for name in autos if known.get(name)), None)
    if first is None:
        return work.plan
    models = tuple(
        model.model_copy(update={"dtype": first}) if model.name in autos else model
        for model in work.plan.models
    )
    return work.plan.model_copy(update={"models": models})
