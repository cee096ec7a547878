"""Commands on production traffic: logs in, what is stored of them, and forgetting it."""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import BadInput
from store import database
from store.session import opened
from tui.cli.common import Json, Store, progress, store_folder
from tui.text.gate import MISSING, counted, cut, printable
from tui.text.output import Column, err, iso, moment, out, paragraph, print_json, print_table, redraws

if TYPE_CHECKING:
    from engine.traffic.importing import TrafficAccount
    from store.records import TrafficEvent, TrafficFeedback
    from store.traffic import Meant

traffic = typer.Typer(
    help="Production traffic: import logs, look at them, forget them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Logs: JSON lines, JSON, CSV, Parquet …")]
Map = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="A field's column, or its path: prompt=question, response=body.choices.0.text",
    ),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The format [default: what each row shows].")
]
Variant = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="The variant of events that name none.")
]
Mask = Annotated[bool, typer.Option("--mask", help="Mask personal data before it is stored.")]
Since = Annotated[str | None, typer.Option("--since", metavar="DATE", help="From this day or time on, UTC.")]
Before = Annotated[str | None, typer.Option("--before", metavar="DATE", help="Before this day or time, UTC.")]
OfVariant = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help='This variant; "" has no variant.')
]
OfModel = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Answers of this model.")]
OfUser = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="This user: the id in the logs, or its hash.")
]
OfSession = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="This session: the id in the logs, or its hash.")
]
Thumbs = Annotated[str | None, typer.Option("--thumbs", metavar="up|down", help="With such feedback.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many, the newest first.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="An event's id here or in its log.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@traffic.command("import")
def import_(
    context: typer.Context,
    files: Files,
    fields: Map = [],  # noqa: B006  typer reads it
    form: Format = None,
    variant: Variant = None,
    mask: Mask = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Import logs of production. The same file again adds nothing; one that has grown adds what is new.

    Users and sessions are stored as hashes with a secret of this store.
    """
    from engine.traffic.events import salt
    from engine.traffic.importing import NAMES, import_traffic

    if form is not None and form not in NAMES:
        raise BadInput(f"--format {form}: is no format", f"the formats are {', '.join(NAMES)}")
    named = _fields(fields)
    missing = next((path for path in files if not path.exists() and ":" not in str(path)), None)
    if missing is not None:
        raise BadInput(f"{missing}: no such file")
    folder = store_folder(context, store)
    database.prepare(folder)
    show = progress("rows read")
    with opened(folder) as connection:
        found = import_traffic(
            files,
            connection,
            salt(folder),
            format=form,
            fields=named,
            variant=variant,
            mask=mask,
            tell=show or (lambda _: None),
        )
    if show and redraws():
        sys.stderr.write("\x1b[K")
    if json:
        print_json(_values(found))
    else:
        _print_account(found)


def _fields(pairs: list[str]) -> dict[str, str]:
    from engine.traffic.events import KEYS

    found = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not column or name not in KEYS:
            raise BadInput(f"--map {pair}: must be FIELD=COLUMN", f"FIELD is one of {', '.join(KEYS)}")
        found[name] = column
    return found


def _values(found: "TrafficAccount") -> dict[str, Any]:
    added = found.added
    return {
        "formats": dict(found.formats),
        "events": {"new": added.new, "known": added.known, "updated": added.updated},
        "feedback": added.feedback,
        "other": found.others,
        "unreadable": found.unreadable,
        "reasons": found.left_out,
        "without_model": found.nameless,
        "waiting_feedback": found.waiting,
    }


def _print_account(found: "TrafficAccount") -> None:
    for reason in found.left_out:
        err(f"left out: {printable(reason)}")
    if found.unreadable > len(found.left_out):
        err(f"and {found.unreadable - len(found.left_out):,} more that cannot be read")
    for name, rows in found.formats.items():
        out(f"{counted(rows, 'row')} read as {name}")
    added = found.added
    out(f"{counted(added.new, 'new event')}, {added.known:,} known already, {added.updated:,} with more")
    if added.feedback:
        out(f"feedback on {counted(added.feedback, 'answer')} new or changed")
    if found.waiting:
        out(f"feedback on {counted(found.waiting, 'answer')} waits for its event")
    if found.nameless:
        paragraph(f"{counted(found.nameless, 'event')} without a model's name: it counts as unknown")
    if found.others:
        out(f"{counted(found.others, 'other row')} passed over: no exchange, or no person's score")
    if found.unreadable:
        out(f"{counted(found.unreadable, 'row')} left out")


@traffic.command("list")
def list_(
    context: typer.Context,
    since: Since = None,
    before: Before = None,
    variant: OfVariant = None,
    model: OfModel = None,
    user: OfUser = None,
    session: OfSession = None,
    thumbs: Thumbs = None,
    limit: Limit = 50,
    json: Json = False,
    store: Store = None,
) -> None:
    """List events, the newest first; `assay traffic show ID` shows one whole."""
    from store.read import traffic as stored
    from store.read.query import by_key

    folder = store_folder(context, store)
    if thumbs not in (None, "up", "down"):
        raise BadInput(f"--thumbs {thumbs}: must be up or down")
    which: stored.Which = {
        "since": time_given("--since", since),
        "before": time_given("--before", before),
        "variant": variant,
        "model": model,
        "thumbs": None if thumbs is None else 1 if thumbs == "up" else -1,
        **_people(folder, user, session),  # type: ignore[typeddict-item]  # its keys are user and session
    }
    with opened(folder) as connection:
        total = stored.count(connection, **which)
        events = list(stored.events(connection, newest=True, limit=limit, **which))
        said = by_key((row.event_id, row) for row in stored.feedback(connection, [row.id for row in events]))
    if json:
        print_json({"total": total, "events": [event_values(row, said.get(row.id, [])) for row in events]})
        return
    if not events:
        out("no events" if any(value is not None for value in which.values()) else _EMPTY)
        return
    columns = [Column("id"), Column("asked (UTC)"), Column("variant"), Column("model"), Column("said")]
    columns += [Column("question"), Column("answer")]
    print_table(columns, [_row(row, said.get(row.id, [])) for row in events])
    if total > len(events):
        out(f"{len(events):,} of {total:,}; --limit, --since and --before choose others")


_EMPTY = "no traffic is stored yet; `assay traffic import FILE` brings logs in"
_SHOWN = 60  # characters of a text in a list


def _row(event: "TrafficEvent", said: "list[TrafficFeedback]") -> list[str]:
    asked = next((turn for turn in reversed(event.messages) if turn["role"] == "user"), event.messages[-1])
    answer = event.response if event.response is not None else f"({event.reason})"
    if event.calls:
        answer = f"{answer} calls {', '.join(call['function']['name'] for call in event.calls)}".strip()
    return [
        event.id[:10],
        moment(event.time),
        (event.variant or MISSING) + (" (shadow)" if event.shadow else ""),
        cut(event.model, 30),
        "".join(sorted(_opinions(said))) or MISSING,
        cut(asked["content"][:500], _SHOWN),
        cut(answer[:500], _SHOWN),
    ]


def _opinions(said: "list[TrafficFeedback]") -> set[str]:
    thumbs = {"+" if row.thumbs > 0 else "-" for row in said if row.thumbs}
    return thumbs | ({"c"} if any(row.correction for row in said) else set())


def event_values(event: "TrafficEvent", said: "list[TrafficFeedback]") -> dict[str, Any]:
    """An event for programs, with what was said of it."""
    values = asdict(event) | {"time": iso(event.time), "received": iso(event.received)}
    return values | {
        "feedback": [asdict(row) | {"time": iso(row.time), "received": iso(row.received)} for row in said]
    }


@traffic.command()
def show(context: typer.Context, event_id: Id, json: Json = False, store: Store = None) -> None:
    """Show one event: the question, the answer, and what was said of it."""
    from engine.traffic.events import event_id as hashed
    from engine.traffic.events import is_event_id
    from store.read import traffic as stored

    own = event_id if is_event_id(event_id) else hashed(event_id)
    with opened(store_folder(context, store)) as connection:
        event = stored.event(connection, own)
        said = stored.feedback(connection, [event.id])
    if json:
        print_json(event_values(event, said))
        return
    for name, value in _facts(event):
        paragraph(value, " " * 12, f"{name:12}")
    for turn in event.messages:
        _print_text(turn["role"], turn["content"], turn.get("tool_calls"))
    _print_text("answer", event.response if event.response is not None else f"({event.reason})", event.calls)
    for row in said:
        words = [f"thumbs {'up' if row.thumbs > 0 else 'down'}"] if row.thumbs else []
        words += [f"rating {row.rating:g}"] if row.rating is not None else []
        out()
        out(printable(f"feedback {moment(row.time)} {row.user or ''} {', '.join(words)}".rstrip()))
        for name, text in (("correction", row.correction), ("comment", row.comment)):
            if text:
                _print_text(name, text, None)


def _facts(event: "TrafficEvent") -> list[tuple[str, str]]:
    model = " ".join(filter(None, (event.model, event.version)))
    variant = f"{event.variant or MISSING}{' (shadow: nobody saw it)' if event.shadow else ''}"
    tokens = f"{event.tokens_in if event.tokens_in is not None else MISSING} in, "
    tokens += f"{event.tokens_out if event.tokens_out is not None else MISSING} out"
    latency = f"{event.latency_s:.3g} s" if event.latency_s is not None else MISSING
    personal = ", ".join(event.personal or ()) or "none found"
    return [
        ("event", event.id),
        ("asked", f"{moment(event.time)} UTC, stored {moment(event.received)} from {event.source}"),
        ("model", model),
        ("variant", variant),
        ("tokens", tokens),
        ("latency", latency),
        ("ended", event.finish_reason or MISSING),
        ("session", event.session or MISSING),
        ("user", event.user or MISSING),
        ("tags", ", ".join(event.tags or ()) or MISSING),
        ("personal", f"{personal}{', masked' if event.masked else ''}"),
    ]


def _print_text(name: str, text: str, calls: list[dict[str, Any]] | None) -> None:
    from engine.data.calls import with_calls

    out()
    out(f"{printable(name)}:")
    out(printable(with_calls(text, {"tool_calls": calls}) or ""))


@traffic.command()
def forget(
    context: typer.Context,
    user: OfUser = None,
    session: OfSession = None,
    before: Before = None,
    yes: Yes = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Delete traffic for good: of one user, of one session, or from before a day.

    It goes from the store, from proposals, weekly runs and caches, and its bytes with it.
    """
    from engine.traffic.forgetting import forget_for_good
    from store.traffic import Meant, traces

    folder = store_folder(context, store)
    given = [
        name for name, value in (("--user", user), ("--session", session), ("--before", before)) if value
    ]
    if len(given) != 1:
        raise BadInput(
            "it is not clear what to forget" if not given else f"{' and '.join(given)}: give one of them",
            "assay traffic forget --user ID, --session ID, or --before 2026-01-31",
        )
    with opened(folder) as connection:
        what = Meant(before=time_given("--before", before), **_people(folder, user, session))
        found = traces(connection, what)
        if (found.ids or found.feedback) and not yes:
            _confirm(len(found.ids), found.feedback, what)
        done = forget_for_good(connection, folder, what)
    if json:
        values = asdict(done.forgotten)
        print_json(values | {"cached": done.cached, "kept_in": done.kept_in, "copies": done.copies})
        return
    gone = done.forgotten
    if not (gone.events or gone.feedback):
        out("there is no such traffic; nothing was deleted")
    else:
        out(f"forgotten: {counted(gone.events, 'event')} and {gone.feedback:,} feedback on them or others")
    for count, noun in (
        (gone.proposals, "proposal"),
        (gone.examples, "weekly example"),
        (done.cached, "cached answer"),
    ):
        if count:
            out(f"with them: {counted(count, noun)}")
    for eval_set in done.kept_in:
        paragraph(f"{eval_set} took some of it in as examples; take them out there (column traffic_event)")
    for name in done.copies:
        paragraph(f"{folder / name} is a copy of the store from before; delete it, too")
    if not done.is_wiped:
        paragraph(
            "another process reads the store: when it has ended, the same command removes the last bytes"
        )


def _confirm(events: int, feedback: int, what: "Meant") -> None:
    more = f" and {feedback:,} feedback on others" if feedback else ""
    question = f"Forget {counted(events, 'event')}{more} for good?"
    if not sys.stdin.isatty():
        raise BadInput("forgetting needs a confirmation", f"{question} Then add --yes")
    typer.confirm(question, abort=True)


def _people(folder: Path, user: str | None, session: str | None) -> dict[str, str | None]:
    """The hashes of a user and a session that a person names."""
    from engine.traffic.events import salt, session_hash, user_hash

    if user is None and session is None:
        return {"user": None, "session": None}
    if not database.exists(folder):
        raise BadInput(f"there is no store in {folder}", "--store DIR names another")
    secret = salt(folder)
    return {
        "user": user_hash(user, secret) if user else None,
        "session": session_hash(session, secret) if session else None,
    }


def time_given(option: str, text: str | None) -> float | None:
    """A day or a time, in seconds since 1970. Raises BadInput for what is none."""
    from engine.traffic.events import moment as read

    if text is None:
        return None
    try:
        return read(text)
    except (ValueError, TypeError, OverflowError):
        now = time.strftime("%Y-%m-%d", time.gmtime())
        raise BadInput(f"{option} {text}: is no day or time", f"write it as {now} or {now}T12:00Z") from None
