"""Checks a plan's judges before any is asked: whether they can run, and what they will cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.data.example import Example
from engine.errors import BadInput
from engine.judges.chat import C, Form, P
from engine.judges.judge import ORDERS, Call, Item, Pair, RatingCall
from engine.judges.load import pairwise_form, scoring_form
from engine.judges.questions import OF_ANOTHER_KIND, calls_on, references_of, seen_by, selected
from engine.plan.errors import Finding
from engine.plan.plan import Judge, Plan
from engine.servers.address import held
from engine.servers.costs import Price, Prices, is_local, read_prices


def judge_findings(plan: Plan, own: Sequence[Example], suites: Sequence[Example] = ()) -> Iterator[Finding]:
    """Judges that are not asked, unusable rubrics and prompts, and examples that lack what a judge needs.

    `suites` are the questions of the plan's suites, which some are asked about too.
    """
    silent = left_out(plan, own)
    yield from _about_silent(plan, silent)
    for spec in plan.judges:
        if spec.embedded or spec.name in silent:
            continue
        try:
            examples = seen_by(spec, own, suites)
            lacking = _tried(spec, examples)
        except BadInput as error:
            yield Finding("error", f"judge {spec.name}", error.message, error.hint)
            continue
        for reason, count in lacking.items():
            meant = reason in OF_ANOTHER_KIND and count < len(examples)
            yield Finding(
                "ok" if meant else "warning",
                f"judge {spec.name}",
                f"{count} of {len(examples)} examples will not be judged: {reason}",
                "" if meant else "add it to the examples, or use another rubric",
            )
        if _repeats_itself(spec, examples):
            yield Finding(
                "warning",
                f"judge {spec.name}",
                f"is asked {spec.repeat} times for the same: at temperature 0 one prompt has one answer, and "
                "the spread says nothing of the judge's noise",
                "set temperature, add a rubric of several criteria, or remove repeat",
            )


NO_REFERENCES = "no example has a reference"


def left_out(plan: Plan, examples: Sequence[Example]) -> dict[str, str]:
    """The judges that a run on these examples does not ask, by name, each with the reason.

    The embedded rule where no example has a reference; a judge whose key is not set, unless a gate needs it.
    """
    found = {}
    for judge in plan.judges:
        if judge.name in plan.judging.cascade:
            continue
        if judge.embedded:
            if examples and not any(references_of(example, len(example.turns)) for example in examples):
                found[judge.name] = NO_REFERENCES
        elif judge.api_key_env and not held(judge.api_key_env) and not _is_gated(plan, judge):
            found[judge.name] = f"the environment variable {judge.api_key_env} is not set"
    return found


def _is_gated(plan: Plan, judge: Judge) -> bool:
    gates, measure = plan.gates, f"judge:{judge.name}"
    if any(name == measure or name.startswith(f"{measure}:") for name in gates.metrics):
        return True
    return judge.kind == "pairwise" and (gates.min_win_rate, gates.min_judge_agreement) != (None, None)


def _about_silent(plan: Plan, silent: Mapping[str, str]) -> Iterator[Finding]:
    for judge in plan.judges:
        if reason := silent.get(judge.name):
            way_out = (
                "add references, or a judge with a server"
                if judge.embedded
                else f"export {judge.api_key_env}=…; without it the run is made without this judge"
            )
            yield Finding("warning", f"judge {judge.name}", f"will not be asked: {reason}", way_out)
    of_pairs = [judge.name for judge in plan.judges if judge.kind == "pairwise"]
    if plan.gates.min_win_rate is not None and not set(of_pairs) - silent.keys():
        reason = silent[of_pairs[0]] if of_pairs else "a win rate is of pairs of answers"
        yield Finding(
            "error",
            "gates.min_win_rate",
            f"no judge of the plan will compare pairs: {reason}",
            'add a judge with kind = "pairwise", or gate its scores: '
            '"judge:NAME" = 0.05 under [gates.metrics]',
        )


def _tried(spec: Judge, examples: Sequence[Example]) -> Counter[str]:
    """How many examples cannot be judged, by the reason; one question is made, and thrown away."""
    if spec.kind == "pointwise":
        return _lacking(scoring_form(spec), [RatingCall(Item(example, "", "x")) for example in examples])
    pairs = [Pair(example, "", "x", "", "y") for example in examples]
    return _lacking(pairwise_form(spec), [Call(pair, "candidate_first") for pair in pairs])


def _lacking(form: Form[C, P], calls: Sequence[C]) -> Counter[str]:
    reasons = [form.lacks(call) for call in calls]
    if None in reasons:
        form.messages(calls[reasons.index(None)])
    return Counter(reason for reason in reasons if reason is not None)


def _repeats_itself(spec: Judge, examples: Sequence[Example]) -> bool:
    """Whether a judge that is asked several times gets one prompt each time, and answers without chance."""
    if spec.repeat == 1 or spec.temperature > 0 or not examples:
        return False
    form, items = scoring_form(spec), [Item(example, "", "x") for example in examples]
    item = next((item for item in items if form.lacks(RatingCall(item)) is None), None)
    return item is not None and all(
        form.messages(RatingCall(item, repeat=place)) == form.messages(RatingCall(item))
        for place in range(1, spec.repeat)
    )


Level = Literal["error", "warning", "ok"]

# Tokens. Prompts: our own instructions, with a short rubric or a long one. Answers: a verdict with some
# reasons; at most what the judge may write. Characters a token: English, and what is harder to write.
_INSTRUCTIONS = (250, 700)
_VERDICT = 60
_CHARACTERS = (4.5, 3.0)
_SHORT_RESPONSE = 0.25  # of max_new_tokens
_UNSURE = 0.3  # of a cascade's examples go on to the next judge


@dataclass(frozen=True, slots=True)
class Estimate:
    """One judge's calls, its tokens (likely, at most) and US dollars; `dollars` None without a price.

    `open`: how many calls it will be shows only while judging, `calls` is the most.
    """

    judge: str
    calls: int
    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    open: bool = False
    prices_of: str | None = None  # the date of the list that the price is from

    @property
    def counted(self) -> str:
        """Calls and tokens in words."""
        most = "up to " if self.open else ""
        return (
            f"{most}{self.calls:,} calls, {_thousands(self.tokens[0])} to {_thousands(self.tokens[1])} tokens"
        )

    def text(self) -> str:
        """One line for people."""
        if self.dollars is None:
            return f"{self.counted}; cost unknown: no price for its model"
        dated = f" (prices of {self.prices_of})" if self.prices_of else ""
        return f"{self.counted}, ${self.dollars[0]:,.2f} to ${self.dollars[1]:,.2f}{dated}"


def estimate(
    plan: "Plan",
    examples: Sequence["Example"],
    prices: Prices | None = None,
    suites: Sequence["Example"] = (),
) -> list[Estimate]:
    """The possible calls and cost of each of a plan's judges on a server; cached answers reduce the cost.

    Raises BadInput when the plan's price file cannot be read.
    """
    prices = prices or read_prices(plan.judging.prices)
    silent = left_out(plan, examples)
    return [
        estimate_of(plan, judge, seen_by(judge, examples, suites), prices)
        for judge in plan.judges
        if judge.server is not None and judge.name not in silent
    ]


def estimate_of(
    plan: "Plan", judge: "Judge", examples: Sequence["Example"], prices: Prices | None = None
) -> Estimate:
    """One judge's calls and tokens, and with `prices` what they cost."""
    seen = selected(plan, judge, examples)
    responses = 1 if judge.kind == "pointwise" else 2
    calls = sum(calls_on(plan, judge, example) for example in seen)
    later = judge.name in plan.judging.cascade[1:]
    probe = len(ORDERS) * min(judge.constant_probe or 0, len(examples))
    expected = probe + (calls * _UNSURE if later else calls)
    calls += probe
    characters = sum(len(example.query) + sum(map(len, example.references[:1])) for example in seen)
    mean = characters / len(seen) if seen else 0.0
    longest = plan.generation.max_new_tokens
    likely = _INSTRUCTIONS[0] + mean / _CHARACTERS[0] + responses * longest * _SHORT_RESPONSE
    most = _INSTRUCTIONS[1] + mean / _CHARACTERS[1] + responses * longest
    tokens_in = (round(expected * likely), round(calls * most))
    tokens_out = (round(expected * min(_VERDICT, judge.max_tokens)), calls * judge.max_tokens)
    price = prices.of(judge.model or "", str(judge.server)) if prices else None
    share = 1 - prices.batch_discount if prices and judge.batch else 1.0
    return Estimate(
        judge.name,
        calls,
        (tokens_in[0] + tokens_out[0], tokens_in[1] + tokens_out[1]),
        _dollars(price, tokens_in, tokens_out, share),
        open=later or judge.stop_early,
        prices_of=price.updated if price else None,
    )


def _dollars(
    price: Price | None, tokens_in: tuple[int, int], tokens_out: tuple[int, int], share: float
) -> tuple[float, float] | None:
    if price is None:
        return None
    return share * price.cost(tokens_in[0], tokens_out[0]), share * price.cost(tokens_in[1], tokens_out[1])


def _thousands(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{max(1, round(count / 1000)):,} k"


def cost_findings(
    plan: "Plan", examples: Sequence["Example"], suites: Sequence["Example"] = ()
) -> list[tuple[Level, str, str, str]]:
    """The preflight findings on the judges' cost: level, subject, message, fix."""
    try:
        found = estimate(plan, examples, suites=suites)
    except BadInput as error:
        return [("error", "judging.prices", error.message, error.hint)]
    findings = [_finding(plan, each) for each in found]
    cap = plan.judging.max_cost
    likely = sum(each.dollars[0] for each in found if each.dollars is not None)
    if cap is not None and likely > cap:
        over = f"judging is likely to cost ${likely:,.2f}: the run will pause at ${cap:,.2f}"
        findings.append(("warning", "judging.max_cost", over, "raise max_cost, or judge a sample"))
    return findings


def _finding(plan: "Plan", each: Estimate) -> tuple[Level, str, str, str]:
    subject = f"judge {each.judge}"
    if each.dollars is not None or plan.judging.max_cost is None:
        return "ok", subject, each.text(), ""
    judge = next(judge for judge in plan.judges if judge.name == each.judge)
    level: Level = "warning" if is_local(str(judge.server)) else "error"
    way_out = f'add "{judge.model}" to a price file, and name the file in `prices` under [judging]'
    return level, subject, f"{each.text()}: max_cost cannot be enforced", way_out
