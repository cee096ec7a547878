"""The app's screens. Each is imported when it is first opened, so that the first frame pays for one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.screens.base import AssayScreen, RunScreen

RUN_SCREENS = {
    "decision": "tui.screens.decision:DecisionScreen",
    "live": "tui.screens.live.screen:LiveScreen",
    "compare": "tui.screens.compare.screen:CompareScreen",
    "map": "tui.screens.map:MapScreen",
    "review": "tui.screens.review.screen:ReviewScreen",
    "splits": "tui.screens.splits.screen:SplitsScreen",
    "judges": "tui.screens.judges:JudgesScreen",
    "agreement": "tui.screens.agreement:AgreementScreen",
    "failures": "tui.screens.failures:FailureLogScreen",
    "alerts": "tui.screens.alerts:AlertsScreen",
    "trends": "tui.screens.trends:TrendsScreen",
}
STORE_SCREENS = {"monitor": "tui.screens.monitor:MonitorScreen"}
TABS = ("runs", *RUN_SCREENS)
NAMES = (*TABS, *STORE_SCREENS)


def load(name: str) -> "type[RunScreen]":
    """The class of a screen that shows one run."""
    found: type[RunScreen] = _class(RUN_SCREENS[name])
    return found


def opened(name: str, run_id: int | None) -> "AssayScreen | None":
    """A screen on a run, or on the whole store; None where it needs a run, and there is none."""
    if name in STORE_SCREENS:
        found: AssayScreen = _class(STORE_SCREENS[name])()
        return found
    return None if run_id is None else load(name)(run_id)


def _class(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
