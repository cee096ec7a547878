"""The app's screens. Each is imported when it is first opened, so that the first frame pays for one."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.screens.base import RunScreen

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
NAMES = ("runs", *RUN_SCREENS)


def load(name: str) -> "type[RunScreen]":
    """The class of a screen that shows one run."""
    module, _, cls = RUN_SCREENS[name].partition(":")
    found: type[RunScreen] = getattr(import_module(module), cls)
    return found
