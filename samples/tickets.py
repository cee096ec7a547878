"""The domain task: a support ticket in, a JSON object with category, priority and a one-line reply out."""

import json
from dataclasses import dataclass
from random import Random

from samples.world import words

CATEGORIES = ("account", "billing", "delivery", "technical")
PRIORITIES = ("high", "normal", "low")

PRODUCTS = words(
    """
    kettle lamp router printer camera toaster speaker tablet heater mixer drill monitor scanner fan
    radio phone
    """
)
NAMES = words(
    """
    Mira Jonas Petra Omar Lena Viktor Sana Hugo Ines Karl Nadia Bruno Alma Felix Rosa Tomas Greta Ivan
    Leila Paul
    """
)

_ISSUES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "billing",
        (
            "I was charged twice for the {p}.",
            "My card was billed two times for the {p}.",
            "You took the money for the {p} twice.",
        ),
        "we will return the second charge for the {p}",
    ),
    (
        "billing",
        (
            "The invoice for the {p} shows a wrong amount.",
            "The price on my bill for the {p} is not right.",
            "I paid too much for the {p}.",
        ),
        "we will correct the invoice for the {p}",
    ),
    (
        "billing",
        (
            "I never got an invoice for the {p}.",
            "Please send me the bill for the {p}.",
            "The receipt for the {p} is missing.",
        ),
        "we will send the invoice for the {p}",
    ),
    (
        "billing",
        (
            "My refund for the {p} has not arrived.",
            "I sent the {p} back and got no money.",
            "Where is the refund for my {p}?",
        ),
        "we will check the refund for the {p}",
    ),
    (
        "delivery",
        (
            "The {p} has not arrived yet.",
            "My parcel with the {p} is late.",
            "I am still waiting for the {p}.",
        ),
        "we will trace the parcel with the {p}",
    ),
    (
        "delivery",
        (
            "The {p} came with a broken box.",
            "The parcel with the {p} was damaged.",
            "My {p} was crushed on the way.",
        ),
        "we will ship a new {p}",
    ),
    (
        "delivery",
        (
            "I ordered a {p} and got something else.",
            "This is the wrong item, I wanted the {p}.",
            "You sent the wrong thing and not the {p}.",
        ),
        "we will swap the item for the {p}",
    ),
    (
        "delivery",
        (
            "Please send the {p} to a new address.",
            "I moved, the {p} must go to another street.",
            "The address for the {p} is old.",
        ),
        "we will change the address for the {p}",
    ),
    (
        "account",
        (
            "I cannot log in to register my {p}.",
            "The login page for my {p} refuses me.",
            "Signing in to see my {p} fails.",
        ),
        "we will reset the login for the {p}",
    ),
    (
        "account",
        (
            "I forgot the password for my {p}.",
            "My password for the {p} is lost.",
            "Please give me a new password for the {p}.",
        ),
        "we will mail a new password for the {p}",
    ),
    (
        "account",
        (
            "Please delete my profile and my {p}.",
            "Remove me and the {p} from your list.",
            "Close my account, I sold the {p}.",
        ),
        "we will close the account with the {p}",
    ),
    (
        "account",
        (
            "My email for the {p} has changed.",
            "Please use another email for my {p}.",
            "The mail address of my {p} profile is wrong.",
        ),
        "we will update the email for the {p}",
    ),
    (
        "technical",
        ("The {p} does not start.", "My {p} stays dark when I switch it on.", "The {p} will not turn on."),
        "we will guide you to restart the {p}",
    ),
    (
        "technical",
        ("The {p} makes a strange noise.", "My {p} is very loud.", "I hear a buzz from the {p}."),
        "we will inspect the {p}",
    ),
    (
        "technical",
        (
            "The app of the {p} crashes.",
            "The program for my {p} stops all the time.",
            "My {p} app closes by itself.",
        ),
        "we will fix the app of the {p}",
    ),
    (
        "technical",
        ("The {p} gets too hot.", "My {p} smells of smoke.", "The {p} burns my fingers."),
        "we will replace the {p}",
    ),
)

_URGENCY = {
    "high": ("It is urgent.", "I need help today.", "I cannot wait any longer.", "This stops my work."),
    "normal": (
        "Please look into it.",
        "I hope for an answer this week.",
        "Can you help?",
        "Thank you for a reply.",
    ),
    "low": ("There is no hurry.", "Take your time.", "It can wait.", "Answer when you can."),
}
_OPENING = {"high": "Sorry", "normal": "Hello", "low": "Dear"}
_WHEN = {"high": "today", "normal": "this week", "low": "soon"}

_LAYOUTS = (
    "Hello, this is {name}. {issue} {order}{urgency}",
    "{issue} {order}{urgency} Thanks, {name}",
    "{name} here. {urgency} {issue}{tail}",
    "Hi, {issue} {urgency} {order}Yours, {name}",
)

_HELD_OUT_EVERY = 8
"""One combination of issue, wording, product and customer in eight is held out."""


@dataclass(frozen=True)
class Ticket:
    """A support ticket and the answer wanted for it."""

    text: str
    category: str
    priority: str
    reply: str

    @property
    def answer(self) -> str:
        """The answer as one line of JSON."""
        return json.dumps({"category": self.category, "priority": self.priority, "reply": self.reply})


def draw(rng: Random, held_out: bool, category: str | None = None) -> Ticket:
    """One random ticket from the evaluation world (`held_out`) or the training world."""
    issues = [at for at, issue in enumerate(_ISSUES) if category in (None, issue[0])]
    while True:
        issue, wording = rng.choice(issues), rng.randrange(3)
        product, name = rng.randrange(len(PRODUCTS)), rng.randrange(len(NAMES))
        if ((issue + 3 * wording + product + 5 * name) % _HELD_OUT_EVERY == 0) == held_out:
            return _write(rng, issue, wording, PRODUCTS[product], NAMES[name])


def distinct(rng: Random, count: int, held_out: bool) -> list[Ticket]:
    """`count` different tickets, the categories in turn."""
    tickets: dict[str, Ticket] = {}
    while len(tickets) < count:
        ticket = draw(rng, held_out, CATEGORIES[len(tickets) % len(CATEGORIES)])
        tickets.setdefault(ticket.text, ticket)
    return list(tickets.values())


def answer_words() -> tuple[str, ...]:
    """Every word that an answer can hold, sorted."""
    texts = [*CATEGORIES, *PRIORITIES, *NAMES, *PRODUCTS, *_OPENING.values(), *_WHEN.values()]
    texts += ["category priority reply", *(action.format(p="") for _, _, action in _ISSUES)]
    return tuple(sorted({word for text in texts for word in text.split()}))


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) that every answer must meet."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answer to a support ticket",
        "type": "object",
        "properties": {
            "category": {"enum": list(CATEGORIES)},
            "priority": {"enum": list(PRIORITIES)},
            "reply": {"type": "string", "minLength": 1, "pattern": "^[^\\n]*$"},
        },
        "required": ["category", "priority", "reply"],
        "additionalProperties": False,
    }


def _write(rng: Random, issue: int, wording: int, product: str, name: str) -> Ticket:
    category, wordings, action = _ISSUES[issue]
    priority = rng.choice(PRIORITIES)
    order = f"My order is {rng.randint(1000, 9999)}. " if rng.random() < 0.3 else ""
    text = rng.choice(_LAYOUTS).format(
        name=name,
        issue=wordings[wording].format(p=product),
        urgency=rng.choice(_URGENCY[priority]),
        order=order,
        tail=f" {order}".rstrip(),
    )
    reply = f"{_OPENING[priority]} {name}, {action.format(p=product)} {_WHEN[priority]}."
    return Ticket(text, category, priority, reply)
