"""Makes `engine/servers/prices.json` from litellm's list of models: `python -m bench.prices WHEEL DATE`.

WHEEL is the file that `pip download --no-deps litellm` fetches, DATE the day of it.
"""

import json
import sys
import zipfile
from pathlib import Path

from engine.servers.costs import HOSTS, SHIPPED

_LIST = "litellm/model_prices_and_context_window_backup.json"
_NOTE = "US dollars per million tokens; `cached`: input that the provider has read before"


def main(wheel: Path, day: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        known = json.loads(archive.read(_LIST))
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/licenses/LICENSE"))
        permission = archive.read(name).decode().partition("MIT License")[2]
    models = {}
    for key, facts in known.items():
        provider = str(facts.get("litellm_provider")).removesuffix("_chat")
        read, written = facts.get("input_cost_per_token"), facts.get("output_cost_per_token")
        # A price of 0 is mostly one that the list does not know.
        if facts.get("mode") in ("chat", "responses") and provider in HOSTS.values() and read and written:
            parts = {"input": read, "cached": facts.get("cache_read_input_token_cost"), "output": written}
            models[f"{provider}/{key.removeprefix(f'{provider}/')}"] = {
                part: round(1e6 * dollars, 6) for part, dollars in parts.items() if dollars
            }
    head = {
        "note": _NOTE,
        "source": "the list of models of " + " ".join(wheel.name.split("-")[:2]),
        "license": f"MIT. {' '.join(permission.split())}",
        "updated": day,
        "batch_discount": 0.5,
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(models[name])}" for name in sorted(models))
    SHIPPED.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "models": {{\n{lines}\n}}}}\n', "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
