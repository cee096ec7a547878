"""A text's language by py3langid; short texts and neighbouring languages stay undecided."""

import pytest

from engine.data.example import Example
from engine.metrics.language import detect, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The printer on the second floor is not working.", "en"),
        ("Der Drucker im zweiten Stock ist nicht an und druckt nicht.", "de"),
        ("L'imprimante est dans la salle et ne marche pas.", "fr"),
        ("La impresora no funciona y no se por que.", "es"),
        ("De printer is niet aan en het papier is op.", "nl"),
        ("Принтер на втором этаже не работает.", "ru"),
        ("الطابعة لا تعمل", "ar"),
        ("打印机坏了", "zh"),
        ("プリンターが動きません", "ja"),
        ("프린터가 작동하지 않습니다", "ko"),
        ("เครื่องพิมพ์เสีย", "th"),
        ("Das Wort принтер ist nicht der Grund", None),
        ("OK", None),
        ("", None),
        ("12345 !?", None),
        ("\ud800", None),
    ],
)
def test_detection(text: str, language: str | None) -> None:
    assert detect(text) == language


def test_what_the_example_says_comes_first_then_the_eval_set_then_the_text() -> None:
    plain = Example("e", "q", ({"role": "user", "content": "q"},))
    named = Example("e", "q", ({"role": "user", "content": "q"},), extra={"language": "de-AT"})
    assert language_of(named, "fr", "the and of") == "de"
    assert language_of(plain, "fr", "the and of") == "fr"
    assert language_of(plain, None, "Принтер на втором этаже не работает.") == "ru"
    assert language_of(plain, None, "OK") == "en"
