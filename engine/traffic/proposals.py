"""Proposals for the eval set: answers that people disliked or corrected, questions it lacks or a model wrote.

Each becomes a proposal without personal data, unless the eval set, the training data or another proposal
asks the same. A person decides. What is accepted goes into the next version of the eval set, a file beside
it: the file that runs were made from stays as it is. Other corrections become training pairs; what is in the
eval set is in none of them unless that is asked for.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.data.example import SYNTHETIC, Example, eval_set_version, normalise
from engine.data.examples import read_examples, records_of
from engine.data.shapes import example_from
from engine.data.textfile import write_text
from engine.errors import BadInput
from engine.metrics.safety import kinds, masked
from engine.traffic.periods import DAY, FEWEST, UncoveredCluster, start_of
from store.read import traffic
from store.read.datasets import test_uses
from store.read.history import Connection
from store.read.query import by_key, fetch, select
from store.read.queues import AnnotatedExample, AnnotatedRow
from store.records import EvalProposal, Run, SplitUse, TrafficEvent
from store.traffic import keep_proposals, take_over_uses, together

if TYPE_CHECKING:
    from engine.formats.annotated import Written

Origin = Literal["correction", "cluster", "thumbs"]  # in the traffic
Decision = Literal["accepted", "training", "rejected"]
LIMIT = 200  # new proposals at a time: what a person can look through
EVENT = "traffic_event"  # the column of an eval set that says which event an example was
_MOST = 20_000  # events that are looked at for each origin, the newest
_OF_CLUSTER = 3  # typical questions of a cluster that are proposed
_COMMENT = 200  # characters
_WEEK = 7  # days
_HAS = "the eval set asks it already"


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a search brought: new proposals, those that a correction came for, what was left out by reason."""

    new: tuple[EvalProposal, ...]
    corrected: tuple[EvalProposal, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NextVersion:
    """The file that holds an eval set with what was accepted, its version and its size; without a file where
    nothing is accepted. `synthetic` of the `added` examples were written by a model. `test_uses` are uses of
    the test split that the version took over.
    """

    file: Path | None
    version: str | None
    examples: int
    added: int
    test_uses: int
    synthetic: int = 0

    @property
    def told(self) -> str:
        """Where the added examples come from, for people."""
        from_traffic = self.added - self.synthetic
        parts = [f"{from_traffic:,} of them from traffic"] * bool(from_traffic or not self.synthetic)
        return ", ".join(parts + [f"{self.synthetic:,} of them synthetic"] * bool(self.synthetic))


@dataclass(frozen=True, slots=True)
class Decisions:
    """The proposals that were decided, or are open again, and the files that were written for it."""

    proposals: tuple[EvalProposal, ...]
    files: tuple[NextVersion, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """What people said of one event together: the sum of thumbs, the newest correction and comment."""

    event_id: str
    thumbs: int
    correction: str | None
    comment: str | None


# Searching


def propose(
    connection: Connection,
    eval_set: Path,
    *,
    train: Path | None = None,
    fields: Mapping[str, str] | None = None,
    clusters: Sequence[UncoveredCluster] | None = None,
    origins: Sequence[str] = traffic.FROM_TRAFFIC,
    since: float | None = None,
    before: float | None = None,
    limit: int = LIMIT,
) -> Proposed:
    """Stores what the traffic between two times proposes for an eval set.

    `clusters` are those of questions that it lacks, by default of that time, else of the newest weeks.
    `fields` maps the columns of both files, by default as the newest run on the eval set did. An event is
    proposed once for an eval set and its later versions, whatever was decided; a correction that comes while
    its proposal is open joins it. Raises BadInput for files that cannot be read.
    """
    place = _existing(eval_set)
    examples = read_examples(place, _fields(connection, place) if fields is None else fields)
    found = list(_feedback(connection, since, before))
    if "cluster" in origins:
        lacking = _lacking(connection, examples, since, before) if clusters is None else clusters
        found += _typical(connection, lacking)
    found = sorted((each for each in found if each.origin in origins), key=_rank)
    return keep_new(connection, place, examples, found, train=train, fields=fields, limit=limit)


def keep_new(
    connection: Connection,
    place: Path,
    examples: Sequence[Example],
    found: Sequence[EvalProposal],
    *,
    train: Path | None = None,
    fields: Mapping[str, str] | None = None,
    limit: int = LIMIT,
) -> Proposed:
    """Stores those of the found proposals that ask what neither the eval set's examples, another proposal nor
    the training data ask.
    """
    left_out: Counter[str] = Counter()
    standing = of_family(connection, place)
    corrected = _corrected(standing, found)
    known = {each.event_id for each in standing}
    asked: dict[str, tuple[EvalProposal, Example]] = {}
    for proposal in found:
        if proposal.event_id in known:
            continue
        known.add(proposal.event_id)
        try:
            asked[_example_id(proposal)] = proposal, _example(proposal)
        except BadInput:
            left_out["their messages ask nothing that can be asked again"] += 1
    with_copies = _without_copies(asked, left_out)
    _leave_out(with_copies, left_out, _HAS, examples, whole=True)
    others = [example for each in standing if (example := _readable(each))]
    _leave_out(with_copies, left_out, "another proposal asks it", others, whole=True)
    if train is not None:
        from engine.data.leakage import read_training

        _leave_out(with_copies, left_out, "the training data hold it", read_training(train, fields))
    if (more := len(with_copies) - limit) > 0:
        left_out[f"more than the limit of {limit:,}: search again once these are decided"] = more
    chosen = dict(list(with_copies.items())[:limit])
    new = _nearest(chosen, examples) if chosen else []
    with together(connection):
        # What another process stored or decided meanwhile stands.
        now = {each.event_id for each in traffic.proposals(connection, str(place))}
        waiting = {each.id for each in traffic.proposals(connection, None, "open")}
        corrected = [each for each in corrected if each.id in waiting]
        keep_proposals(connection, corrected)
        own = [replace(each, eval_set=str(place)) for each in new if each.event_id not in now]
        stand = keep_proposals(connection, own)
    return Proposed(tuple(stand), tuple(corrected), dict(left_out))


def of_family(connection: Connection, place: Path) -> list[EvalProposal]:
    """All proposals for an eval set and its other versions."""
    family = _family(place)[:2]
    every = traffic.proposals(connection)
    return [each for each in every if _family(Path(each.eval_set))[:2] == family]


def examples_for(
    connection: Connection, place: Path, fields: Mapping[str, str] | None = None
) -> list[Example]:
    """The examples of an eval set, read as by its newest run; none where there is no such file yet."""
    if not place.exists():
        return []
    return read_examples(place, _fields(connection, place) if fields is None else fields)


def _rank(proposal: EvalProposal) -> int:
    return traffic.FROM_TRAFFIC.index(proposal.origin)


def _feedback(connection: Connection, since: float | None, before: float | None) -> Iterator[EvalProposal]:
    """A proposal for each corrected answer, and each one that more people disliked than liked."""
    newest = (
        "(SELECT c.{0} FROM trafficfeedback c WHERE c.event_id = f.event_id AND trim(c.{0}) <> '' "
        "ORDER BY c.time DESC, c.id DESC LIMIT 1) AS {0}"
    )
    said = select(
        connection,
        _Said,
        # Two steps: in one, HAVING and ORDER BY would mean the columns of a single row of feedback.
        "SELECT event_id, thumbs, correction, comment FROM ("
        f"SELECT f.event_id, e.time, sum(coalesce(f.thumbs, 0)) AS thumbs, {newest.format('correction')}, "
        f"{newest.format('comment')} FROM trafficfeedback f JOIN trafficevent e ON e.id = f.event_id "
        "WHERE NOT e.shadow AND (?1 IS NULL OR e.time >= ?1) AND (?2 IS NULL OR e.time < ?2) "
        "GROUP BY f.event_id) WHERE correction IS NOT NULL OR thumbs < 0 "
        "ORDER BY correction IS NULL, time DESC, event_id LIMIT ?3",
        since,
        before,
        _MOST,
    )
    events = _events(connection, [each.event_id for each in said])
    for each in said:
        event = events[each.event_id]
        corrects = each.correction and normalise(each.correction) != normalise(event.response or "")
        if not corrects and each.thumbs >= 0:
            continue
        why = ["corrected"] * bool(corrects) + ["thumbs down"] * (each.thumbs < 0)
        if each.thumbs < -1:
            why[-1] += f" by {-each.thumbs} people more than up"
        comment = f": {each.comment[:_COMMENT]}" if each.comment else ""
        yield _proposal(
            event,
            "correction" if corrects else "thumbs",
            ", ".join(why) + comment,
            each.correction if corrects else None,
        )


def _lacking(
    connection: Connection, examples: Sequence[Example], since: float | None, before: float | None
) -> Sequence[UncoveredCluster]:
    """The clusters that the eval set has nothing of, as `assay monitor` finds them."""
    from engine.traffic.drift import uncovered

    newest = newest_weeks(connection)
    if newest is None:
        return ()
    start, end = newest
    return uncovered(
        connection, start if since is None else since, end if before is None else before, examples
    )


def newest_weeks(connection: Connection) -> tuple[float, float] | None:
    """The weeks whose questions tell what production asks now; None without traffic."""
    from engine.traffic.watch import NEWEST

    (newest,) = connection.execute("SELECT max(time) FROM trafficevent WHERE NOT shadow").fetchone()
    if newest is None:
        return None
    week = start_of(newest, _WEEK)
    return week - (NEWEST - 1) * _WEEK * DAY, week + _WEEK * DAY


def _typical(connection: Connection, clusters: Sequence[UncoveredCluster]) -> Iterator[EvalProposal]:
    """Proposals for the most typical questions of each cluster."""
    for cluster in clusters:
        if cluster.events < FEWEST:
            continue
        names = [event_id for event_id, _ in cluster.examples][:_OF_CLUSTER]
        events = _events(connection, names)
        why = f"one of {cluster.events:,} questions about {cluster.name}, of which the eval set has none"
        for name in names:
            yield _proposal(events[name], "cluster", why, None)


def _events(connection: Connection, ids: Sequence[str]) -> dict[str, TrafficEvent]:
    rows = select(
        connection,
        TrafficEvent,
        "SELECT * FROM trafficevent WHERE id IN (SELECT value FROM json_each(?))",
        json.dumps(ids),
    )
    return {row.id: row for row in rows}


def _proposal(event: TrafficEvent, origin: Origin, why: str, reference: str | None) -> EvalProposal:
    messages = [*event.messages]
    while messages and messages[-1].get("role") == "assistant":  # what came after the question
        messages.pop()
    texts = [turn["content"] for turn in messages if isinstance(turn.get("content"), str)]
    said = [text for text in (*texts, why, reference, event.response) if text]
    return EvalProposal(
        event_id=event.id,
        eval_set="",
        origin=origin,
        why=masked(why),
        messages=_masked(messages),
        reference=reference and masked(reference),
        rejected=event.response and masked(event.response),
        personal=sorted({kind for text in said for kind in kinds(text)} | {*(event.personal or ())}) or None,
        created=time.time(),
    )


def _masked(value: Any) -> Any:
    """Messages without personal data, in their calls of tools too."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _corrected(standing: Sequence[EvalProposal], found: Sequence[EvalProposal]) -> list[EvalProposal]:
    """The open proposals without a reference for which there is a correction now."""
    waiting = {each.event_id: each for each in standing if each.decision is None and each.reference is None}
    return [
        replace(
            waiting[each.event_id],
            **{name: getattr(each, name) for name in ("origin", "why", "reference", "rejected", "personal")},
        )
        for each in found
        if each.reference is not None and each.event_id in waiting
    ]


Asked = dict[str, tuple[EvalProposal, Example]]  # by the example's id


def _without_copies(asked: Asked, left_out: Counter[str]) -> Asked:
    """The first of those that ask the same, which says how many there are."""
    from engine.data.duplicates import copies

    names = list(asked)
    kept = dict(asked)
    for group in copies([example for _, example in asked.values()]):
        first, *others = (names[place] for place in group.places)
        proposal, example = asked[first]
        kept[first] = replace(proposal, why=f"{proposal.why} ({len(others)} more ask the same)"), example
        for name in others:
            del kept[name]
        left_out["another proposal asks it"] += len(others)
    return kept


def _leave_out(
    asked: Asked, left_out: Counter[str], reason: str, rows: Iterable[Example], *, whole: bool = False
) -> None:
    """Removes what stands in these rows, by the rule for leaks; `whole`: a run of words alone is no copy."""
    from engine.data.leakage import find_leaks

    if not asked:
        return
    for leak in find_leaks(rows, [example for _, example in asked.values()]):
        if leak.counts and not (whole and leak.tier == "ngram"):
            del asked[leak.example_id]
            left_out[reason] += 1


def _nearest(asked: Asked, examples: Sequence[Example]) -> list[EvalProposal]:
    """The proposals with the example that is most nearly the same, by the words of both questions."""
    from engine.data.coverage import Vectors, question

    ours, theirs = ([question(each) for each in own] for own in ([e for _, e in asked.values()], examples))
    proposals = [proposal for proposal, _ in asked.values()]
    if not theirs:
        return proposals
    try:
        vectors = Vectors([*ours, *theirs])
    except BadInput:  # no words in any of them
        return proposals
    cosines = vectors.of(ours) @ vectors.of(theirs).T
    best = cosines.argmax(axis=1).A1
    found = []
    for place, (proposal, at) in enumerate(zip(proposals, best, strict=True)):
        cosine = float(cosines[place, at])
        if cosine > 0:
            proposal = replace(proposal, nearest=examples[at].id, similarity=round(min(cosine, 1.0), 4))
        found.append(proposal)
    return found


# Deciding


def decide(
    connection: Connection,
    numbers: Sequence[int],
    decision: Decision,
    user: str,
    *,
    into_test: bool = False,
    fields: Mapping[str, str] | None = None,
) -> Decisions:
    """Records what a person decided of open proposals, all of them or none, and writes the next version.

    Raises BadInput for one that is decided already, one without a correction that is to be trained on, and,
    unless `into_test`, one that would fall into a test split that was used.
    """
    with together(connection):
        found = [_open(connection, number) for number in dict.fromkeys(numbers)]
        if decision == "training" and (lacking := [each.id for each in found if each.reference is None]):
            raise BadInput(
                f"proposal {lacking[0]} has no correction to train on",
                "`assay traffic edit ID --reference TEXT` writes one",
            )
        now = time.time()
        decided = [replace(each, decision=decision, decided=now, by=user) for each in found]
        return _change(connection, found, decided, into_test=into_test, fields=fields)


def undo(
    connection: Connection,
    user: str,
    numbers: Sequence[int] = (),
    *,
    fields: Mapping[str, str] | None = None,
) -> Decisions:
    """Opens these proposals again, or those that this person decided last.

    Raises BadInput where there is nothing to undo.
    """
    with together(connection):
        if numbers:
            found = [traffic.proposal(connection, number) for number in dict.fromkeys(numbers)]
            if open_ones := [each.id for each in found if each.decision is None]:
                raise BadInput(f"proposal {open_ones[0]} is open: nothing was decided of it")
        else:
            mine = [each for each in traffic.proposals(connection) if each.by == user]
            last = max((each.decided or 0.0 for each in mine), default=None)
            found = [each for each in mine if each.decided == last]
            if not found:
                raise BadInput(f"{user} has decided of no proposal yet: there is nothing to undo")
        opened = [replace(each, decision=None, decided=None, by=None) for each in found]
        return _change(connection, found, opened, into_test=True, fields=fields)


def edit(
    connection: Connection, number: int, reference: str | None = None, question: str | None = None
) -> EvalProposal:
    """Gives an open proposal another reference, and one that a model wrote another question, without personal
    data; an empty reference takes it away.

    Raises BadInput for another question of what somebody asked, and for an empty one.
    """
    with together(connection):
        found = _open(connection, number)
        changed = found if reference is None else replace(found, reference=masked(reference.strip()) or None)
        if question is not None:
            changed = replace(changed, messages=_with_question(found, question.strip()))
        told = {kind for text in (reference, question) if text for kind in kinds(text)}
        changed = replace(changed, personal=sorted({*(found.personal or ()), *told}) or None)
        if found.synthetic is not None:
            changed = replace(changed, synthetic={**found.synthetic, "edited": True})
        keep_proposals(connection, [changed])
    return changed


def _with_question(found: EvalProposal, question: str) -> list[dict[str, Any]]:
    if found.synthetic is None:
        raise BadInput(
            f"proposal {found.id} is what somebody asked: its question stays as it is",
            "edit its reference, or reject it",
        )
    if not question:
        raise BadInput("the question is empty", "`assay traffic reject ID` leaves a proposal out")
    return [*found.messages[:-1], {**found.messages[-1], "content": masked(question)}]


def _open(connection: Connection, number: int) -> EvalProposal:
    """The proposal of that number. Raises BadInput for one that is decided."""
    found = traffic.proposal(connection, number)
    if found.decision is not None:
        raise BadInput(
            f"proposal {number} is {found.decision} already", "`assay traffic undo` opens it again"
        )
    return found


def _change(
    connection: Connection,
    before: Sequence[EvalProposal],
    after: Sequence[EvalProposal],
    *,
    into_test: bool,
    fields: Mapping[str, str] | None,
) -> Decisions:
    """Stores decisions and writes the files that they change."""
    keep_proposals(connection, after)
    files = []
    for place, own in by_key((each.eval_set, each) for each in (*before, *after)).items():
        if any(each.decision == "accepted" for each in own):
            new = [each for each in after if each in own and each.decision == "accepted" and not into_test]
            files.append(_write_next(connection, Path(place), new, fields))
    return Decisions(tuple(after), tuple(files))


def _write_next(
    connection: Connection,
    place: Path,
    new: Sequence[EvalProposal],
    fields: Mapping[str, str] | None,
) -> NextVersion:
    """Writes an eval set with all that is accepted for it; `new` may not fall into a used test split."""
    own = traffic.proposals(connection, str(place))
    is_begun_here = not place.exists() and all(each.origin == SYNTHETIC for each in own)
    if not is_begun_here:
        _existing(place)
    examples = examples_for(connection, place, fields)
    accepted = [each for each in own if each.decision == "accepted"]
    taken = {example.id for example in examples}
    if clash := next((each for each in accepted if _example_id(each) in taken), None):
        raise BadInput(f"{place}: has an example {_example_id(clash)} already", "reject the proposal")
    added = [_example(each) for each in accepted]
    uses = _uses(connection, place, eval_set_version(examples))
    if uses or _is_test_part(place):
        _refuse_test(connection, place, uses, examples, added, {_example_id(each) for each in new})
    base = [] if is_begun_here else [record for _, (_, record) in records_of(place)]
    known = {_line(record) for record in (*base, *map(_record, own))}
    file = _free_file(connection, place, known)
    if not accepted:
        file.unlink(missing_ok=True)
        return NextVersion(None, None, len(examples), 0, 0)
    write_text(file, "".join(f"{_line(record)}\n" for record in (*base, *map(_record, accepted))))
    version = eval_set_version([*examples, *added])
    if not test_uses(connection, version, version):  # its test split holds what that of the old one does
        take_over_uses(connection, uses, version)
    synthetic = sum(each.synthetic is not None for each in accepted)
    return NextVersion(file, version, len(examples) + len(added), len(added), len(uses), synthetic)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, default=str)


def _free_file(connection: Connection, place: Path, known: set[str]) -> Path:
    """The first later version's name that nobody has, or whose file was written here and is in no run.

    Of an eval set that is not there yet, the first version.
    """
    folder, stem, number = _family(place)
    number -= not place.exists()
    while True:
        number += 1
        file = folder / f"{stem}-v{number}.jsonl"
        if not file.exists() or (_is_ours(file, known) and not _has_run(connection, file)):
            return file


def _is_ours(file: Path, known: set[str]) -> bool:
    try:
        return set(file.read_text("utf-8").split("\n")) <= known | {""}
    except (OSError, ValueError):
        return False


def _has_run(connection: Connection, file: Path) -> bool:
    found = connection.execute(
        "SELECT 1 FROM run WHERE json_extract(data_summary, '$.examples_path') = ? LIMIT 1", (str(file),)
    )
    return found.fetchone() is not None


_VERSION = re.compile(r"(.+)-v(\d+)")


def _family(place: Path) -> tuple[Path, str, int]:
    """What an eval set's versions share, their folder and name, and the number of this one."""
    name = place.name
    for suffix in (".gz", ".zst"):
        name = name.removesuffix(suffix)
    stem = name if place.is_dir() else Path(name).stem
    numbered = _VERSION.fullmatch(stem)
    return (place.parent, numbered[1], int(numbered[2])) if numbered else (place.parent, stem, 1)


def _existing(eval_set: Path) -> Path:
    if not eval_set.exists():
        raise BadInput(f"no such file: {eval_set}", "give the file of the eval set")
    return eval_set.resolve()


def _runs_on(connection: Connection, place: Path) -> list[Run]:
    """The runs on a file, the newest first."""
    return select(
        connection,
        Run,
        "SELECT * FROM run WHERE json_extract(data_summary, '$.examples_path') = ? ORDER BY id DESC",
        str(place),
    )


def _fields(connection: Connection, place: Path) -> Mapping[str, str]:
    """How the newest run on a file read its columns."""
    from engine.phases.work import plan_of

    for run in _runs_on(connection, place):
        try:
            return plan_of(run).data.fields
        except BadInput:  # what its plan names is gone
            continue
    return {}


# The test lock


def _uses(connection: Connection, place: Path, version: str) -> list[SplitUse]:
    """Uses of the test split of this version, or of this file before it was edited."""
    edited = select(
        connection,
        SplitUse,
        "SELECT u.* FROM splituse u JOIN run r ON r.id = u.run_id WHERE u.split = 'test' "
        "AND json_extract(r.data_summary, '$.examples_path') = ?",
        str(place),
    )
    found = {use.id: use for use in (*test_uses(connection, version, version), *edited)}
    return [found[number] for number in sorted(found)]


def _is_test_part(place: Path) -> bool:
    """Whether the file is the test split that `assay split` wrote."""
    from engine.data.versions import MANIFEST, read_manifest

    if place.stem != "test" or not (place.parent / MANIFEST).is_file():
        return False
    return "test" in read_manifest(place.parent)["files"]


def _refuse_test(
    connection: Connection,
    place: Path,
    uses: Sequence[SplitUse],
    examples: Sequence[Example],
    added: Sequence[Example],
    new: set[str],
) -> None:
    """Raises BadInput where one of the `new` examples would be in the test split of a run that used it."""
    from engine.data.split import splits
    from engine.data.versions import used_before
    from engine.phases.work import plan_of

    if not new:
        return
    parts = {((0.8, 0.1, 0.1), 0)}
    for run_id in {use.run_id for use in uses} - {None}:
        for run in fetch(connection, Run, id=run_id):
            data = plan_of(run).data
            parts.add((data.ratios, data.seed))
    fallen: set[str] = new if _is_test_part(place) else set()
    for ratios, seed in parts:
        places = splits([*examples, *added], ratios, seed)
        fallen |= {
            example.id
            for example, part in zip(added, places[len(examples) :], strict=True)
            if part == "test" and example.id in new
        }
    if fallen:
        used = f"was used {used_before(uses)}" if uses else "is held back"
        raise BadInput(
            f"{', '.join(sorted(fallen))} would be in the test split of {place.name}, which {used}",
            "accept the others, train on it, or accept it with --into-test",
        )


# An example of it


def _example_id(each: EvalProposal) -> str:
    if each.synthetic is not None:
        return each.event_id
    return f"traffic-{each.event_id.removeprefix('e-')[:12]}"


def _record(each: EvalProposal) -> dict[str, Any]:
    """The example as the eval set's file has it."""
    references = {} if each.reference is None else {"references": [each.reference]}
    origin = {EVENT: each.event_id} if each.synthetic is None else {SYNTHETIC: each.synthetic}
    return {"id": _example_id(each), "messages": each.messages, **references, **origin}


def _example(each: EvalProposal) -> Example:
    """Raises BadInput where its messages are no question."""
    return example_from(Path("traffic"), (0, _record(each)), {})


def _readable(each: EvalProposal) -> Example | None:
    try:
        return _example(each)
    except BadInput:
        return None


# Training pairs


def pairs(connection: Connection, form: Literal["dpo", "sft"], *, also_accepted: bool = False) -> "Written":
    """Corrections that were accepted for training: as preferences over what was answered, or as answers.

    With `also_accepted` those in the eval set too, which then holds what is trained on.
    """
    from engine.formats.annotated import correction_records, preference_records

    wanted = ("training", "accepted") if also_accepted else ("training",)
    chosen = [
        each
        for each in traffic.proposals(connection)
        if each.decision in wanted and each.reference is not None
    ]
    rows = [_as_correction(each) for each in chosen]
    examples = {
        each.id: AnnotatedExample(
            example=_example_id(each),
            query=_example(each).query,
            messages=each.messages,
            references=[],
            label=None,
            category=None,
            extra={},
            answers={0: each.rejected},
        )
        for each in chosen
    }
    return (preference_records if form == "dpo" else correction_records)(rows, examples)


def _as_correction(each: EvalProposal) -> AnnotatedRow:
    return AnnotatedRow(
        id=each.id, run_id=0, example_id=each.id, kind="correction", value=each.reference or "",
        criterion=None, annotator=each.by or "", created=each.decided or each.created, turn=0, queue=None,
        blind=False, control=False, seconds=None, left_id=0, right_id=None, left="", right=None, about_id=0,
        about="",
    )  # fmt: skip
