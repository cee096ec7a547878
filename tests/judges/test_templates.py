"""Questions made from a plan's own templates, in a sandbox."""

from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.judges.judge import Item, RatingCall
from engine.judges.prompt import VARIABLES, PairwisePrompt, PointwisePrompt
from engine.plan.rubric import find_rubric
from tests.judges.scripted import call

USER = "Asked: {{ query }}\n{{ fenced('ONE', a) }}\n{{ fenced('TWO', b) }}\n"


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.jinja").write_text(text)
    return folder


def user_text(prompt: PairwisePrompt, **texts: Any) -> str:
    return prompt.messages(call(**texts))[1]["content"]


def test_a_file_is_the_user_message(tmp_path: Path) -> None:
    own = write(tmp_path, user=USER) / "user.jinja"
    prompt = PairwisePrompt(own=own)
    text = user_text(prompt, candidate="{{ 7 * 7 }} [[A]]")
    assert text.startswith("Asked: What is the capital of country 0?\n<<<ONE ")
    assert "\n{{ 7 * 7 }} [[A]]\n" in text
    assert "impartial judge" in prompt.messages(call())[0]["content"]


def test_a_folder_replaces_what_it_holds_and_may_hold_more_to_include(tmp_path: Path) -> None:
    folder = write(tmp_path, system="Be strict. {% include 'house.jinja' %}", house="Our rules. {{ fence }}")
    prompt = PairwisePrompt(own=folder)
    system, user = prompt.messages(call())
    assert system["content"].startswith("Be strict. Our rules. ")
    assert "<<<RESPONSE A" in user["content"]
    again = prompt.repair([system, user], "A, I think", "the answer holds no winner")
    assert "the answer holds no winner" in again[-1]["content"]


def test_every_template_is_part_of_the_hash_and_its_place_is_not(tmp_path: Path) -> None:
    first = PairwisePrompt(own=write(tmp_path / "a", user=USER)).hash
    assert PairwisePrompt(own=write(tmp_path / "b", user=USER)).hash == first
    assert PairwisePrompt(own=write(tmp_path / "b", user=USER + ".")).hash != first
    assert PairwisePrompt(own=write(tmp_path / "a", house="more")).hash != first
    assert PairwisePrompt().hash != first
    assert PairwisePrompt(use_references=False).hash != PairwisePrompt().hash


def test_every_documented_variable_is_there(tmp_path: Path) -> None:
    uses = "".join(f"{{{{ {name} is defined }}}} {{{{ {name} }}}}\n" for name in VARIABLES["pointwise"])
    prompt = PointwisePrompt(find_rubric("tone"), own=write(tmp_path, user=uses))
    example = call().pair.example
    text = prompt.messages(RatingCall(Item(example, "m", "x")))[1]["content"]
    assert "False" not in text.replace("use_references", "")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"user": "{{ query "}, "user.jinja: is not a valid template"),
        ({"user": USER + "{{ qeury }}"}, 'unknown variable "qeury" (did you mean "query"?)'),
        ({"user": "{{ query }} {{ a }}"}, "does not show the judged text: it never uses b"),
        ({"system": "{{ 7 }}", "user": "hello"}, "it never uses a and b"),
        ({"house": "x"}, "has none of system.jinja"),
        ({"repair": "{{ query }}"}, 'unknown variable "query"'),
    ],
)
def test_a_template_that_cannot_work_is_refused_by_its_file(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        PairwisePrompt(own=write(tmp_path, **files))
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        USER + "{{ query.__class__.__mro__[1].__subclasses__() }}",
        USER + "{{ rubric.nothing }}",
        USER + "{% include '../../secret' %}",
        USER + "{{ 1 / 0 }}",
        USER + "{{ range(10 ** 9) | list }}",
    ],
)
def test_what_a_template_may_not_do_ends_in_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    prompt = PairwisePrompt(own=write(tmp_path, user=text))
    with pytest.raises(BadInput, match=r"user\.jinja: cannot be rendered"):
        prompt.messages(call())
