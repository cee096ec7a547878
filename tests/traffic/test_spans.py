"""Spans of one export: one that cannot be read keeps no other one out."""

import json
from contextlib import closing
from pathlib import Path

from engine.traffic.events import event_id
from engine.traffic.importing import import_traffic
from store import database
from tests.traffic.test_collector import exported, span


def test_of_an_export_with_a_bad_span_the_others_are_imported(tmp_path: Path) -> None:
    bad, deep = span("b7ad6b7169203331", "How?"), span("b7ad6b7169203332", "How?")
    bad["attributes"][2]["value"] = {"arrayValue": {"values": [{"intValue": "7"}]}}
    deep["attributes"].append({"key": "gen_ai." + "a." * 50_000 + "a", "value": {"stringValue": "x"}})
    file = tmp_path / "spans.json"
    file.write_text(json.dumps(exported(bad, deep, span("b7ad6b7169203333", "How long?"))))
    database.prepare(tmp_path / "store")
    with closing(database.connect(tmp_path / "store")) as connection:
        account = import_traffic([file], connection, b"pepper")
        ids = [row[0] for row in connection.execute("SELECT id FROM trafficevent")]
    assert ids == [event_id("b7ad6b7169203333")]
    assert account.unreadable == 2 and all("spans.json:1: " in line for line in account.left_out)
