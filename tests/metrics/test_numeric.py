"""The last number of a text in any script, by hand; what may be read in two ways is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.example import Example
from engine.data.final import last_number
from engine.data.numbers import read_numbers
from engine.errors import BadInput
from engine.metrics.exact import NO_NUMBER, NO_NUMBER_WANTED, Numeric
from engine.metrics.metric import Metric, Score
from engine.models.model import Response


def score(metric: Metric, answer: str | None, *references: str) -> list[Score]:
    example = Example("e", "q", ({"role": "user", "content": "q"},), references)
    return metric.score(example, Response("e", answer, 1, 1, "stop", 0.1, reason="timed out"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.50", 1234.5),
        ("so 3 + 4 = 7.", 7.0),
        ("It costs $1,000,000!", 1e6),
        ("x = -3", -3.0),
        ("x = \u22123", -3.0),
        ("#### 18", 18.0),
        ("42km", 42.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1, 2, 3", 3.0),
        ("٤٢", 42.0),
        ("Rs 1,23,456.", 123456.0),
        ("1\u202f234\u202f567", 1234567.0),
        ("1\u00a0000.5", 1000.5),
        ("1 000 000 people", 1e6),
        ("1'234'567", 1234567.0),
        ("1_000", 1000.0),
        ("1.234.567", 1234567.0),
        ("1.234,50", 1234.5),
        (r"\boxed{1{,}234}", 1234.0),
        (r"1\,234", 1234.0),
        ("12.5%", 12.5),
        ("-$5", -5.0),
        ("3 - 5", 5.0),
        ("(3)-5", 5.0),
        ("1.5e8", 1.5e8),
        ("1.5 × 10^8", 1.5e8),
        (r"1.5 \times 10^{-3}", 1.5e-3),
        ("6.02×10²³", 6.02e23),
        ("10^6", 1e6),
        ("2**8 is 2⁸", 256.0),
        ("答案是42。", 42.0),
        ("合計は1,234円です。", 1234.0),
        ("คำตอบคือ42", 42.0),
        ("他买了5个，还剩3个", 3.0),
        ("답은 42입니다", 42.0),
        ("USD100", 100.0),
        ("Rs.500", 500.0),
        ("The answer is 1/2", 0.5),
        (r"\frac{3}{4}", 0.75),
        ("2 1/2 cups", 2.5),
        ("2½ cups", 2.5),
        ("¾", 0.75),
        (r"\frac12", 0.5),
        ("3分の1", 1 / 3),
        ("–5 °C", -5.0),
        ("minus 5", -5.0),
        ("10 minus 5", 5.0),
        ("负5度", -5.0),
        ("１．５", 1.5),
        ("１，２３４円", 1234.0),
        ("1٬234٫5", 1234.5),
        ("1 234 567,89", 1234567.89),
        ("2.5 million people", 2.5e6),
        ("rund 3 Mrd. Euro", 3e9),
        ("2 mil millones", 2e9),
        ("15 lakh", 1.5e6),
        ("2k", 2000.0),
        ("1万5千", 15000.0),
        ("3亿2000万元", 3.2e8),
        ("2.5만 원", 25000.0),
        ("5千克", 5.0),
        ("5 kg", 5.0),
        ("forty-two apples", 42.0),
        ("The answer is minus twelve hundred and five.", -1205.0),
        ("two million three hundred thousand", 2.3e6),
        ("one two three", None),
        ("No one knows", None),
        ("It has 3 legs, not four", 3.0),
        ("答案是四十二。", 42.0),
        ("一万二千三百个", 12300.0),
        ("二〇二四", 2024.0),
        ("统一的一个问题", None),
        ("#### 18\nI checked it in 2 ways.", 18.0),
        (r"\boxed{5}, and there are 3 other ways", 5.0),
        ("#### Step 3\nSo it is 7", 7.0),
        ("-1/2", -0.5),
        ("H2O and v23", None),
        ("NaN, inf, -Infinity", None),
        ("7 and then 1e999", 7.0),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_the_last_number(text: str, number: float | None) -> None:
    found = last_number(text)
    assert (None if found is None else found.value) == number


@given(st.text(alphabet="0123456789.,:;/-– %€aé ", max_size=12))
def test_every_text_can_be_searched_for_numbers(text: str) -> None:
    assert all(number.text for number in read_numbers(text))


def test_numbers_are_equal_within_the_tolerance() -> None:
    assert score(Numeric(), "The total is 1,234.50", "1234.5")[0].value == 1.0
    assert score(Numeric(), "The total is 1234.6", "1234.5")[0].value == 0.0
    assert score(Numeric(tolerance=0.01), "about 1240", "1234.5")[0].value == 1.0
    assert score(Numeric(absolute=0.1), "0.05", "0")[0].value == 1.0
    assert score(Numeric(decimal=","), "also 1.234,50", "1234,5")[0].value == 1.0
    assert score(Numeric(), "many", "4")[0] == Score("numeric_match", 0.0, NO_NUMBER)
    assert score(Numeric(), "4", "many")[0].reason == NO_NUMBER_WANTED


@pytest.mark.parametrize("settings", [{"tolerance": -1}, {"absolute": float("inf")}, {"decimal": ";"}])
def test_wrong_settings_of_numbers_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"metrics\.numeric\."):
        Numeric(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "5-10",
        "5–10",
        "about 5-3",
        "3,14",
        "1,2345",
        "1.2.3",
        "2024-01-15",
        "1/2/2024",
        "at 12:30",
        "1/0",
        "5 to 10",
        "5 bis 10 Tage",
        "between $5 and $10",
        "5~10",
        "5到10",
        "1,23,45",
    ],
)
def test_what_may_be_read_in_two_ways_is_missing_on_either_side(text: str) -> None:
    found = last_number(text)
    assert found is not None and found.value is None
    given, wanted = score(Numeric(), text, "10")[0], score(Numeric(), "10", text)[0]
    assert given.value is None and "the response's" in (given.reason or "")
    assert wanted.value is None and "the reference's" in (wanted.reason or "")


@pytest.mark.parametrize(
    ("reference", "answer", "value"),
    [
        ("1/2", "The answer is 3/2", 0.0),
        ("1/2", "0.5", 1.0),
        ("50%", "It is 0.5", 1.0),
        ("0.5", "50 %", 1.0),
        ("12.5", "12.5%", 1.0),
        ("50%", "0.5%", 0.0),
        ("3.14", "314", 0.0),
        ("答案是42", "42", 1.0),
        ("3.5", "答案是3.5米", 1.0),
        ("-5", "x = -5.", 1.0),
    ],
)
def test_a_number_equals_the_references_however_it_is_written(
    reference: str, answer: str, value: float
) -> None:
    assert score(Numeric(), answer, reference)[0].value == value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("300 K", 300.0),
        ("T = 300 K", 300.0),
        ("300k", 300000.0),
        ("5 mn", 5.0),
        ("$5 mn", 5000000.0),
        ("5M users", 5000000.0),
        ("$5m", 5000000.0),
        ("€3bn", 3000000000.0),
        ("3 bn people", 3000000000.0),
        ("5m", 5.0),
        ("50 k€", 50000.0),
        ("$300 K$", 300.0),
        ("5千焦", 5.0),
        ("220千伏", 220.0),
        ("5千赫", 5.0),
        ("5千米", 5.0),
        ("5千瓦时", 5.0),
        ("5千元", 5000.0),
        ("5千人", 5000.0),
        ("1013百帕", 1013.0),
        ("5兆瓦", 5.0),
        ("5万km", 50000.0),
        ("5千字", 5000.0),
        ("5千字节", 5.0),
        ("3조 원", 3000000000000.0),
        ("피자 5조각", 5.0),
        ("5백만 원", 5000000.0),
        ("3 Billionen Euro", 3000000000000.0),
        ("two-thirds", 2 / 3),
        ("two and a half", 2.5),
        ("twenty-first", 21.0),
        ("三点五", 3.5),
        ("四分之三", 0.75),
        ("负五", -5.0),
        ("One.", 1.0),
        ("The answer is one.", 1.0),
        ("a quarter", 0.25),
        ("three quarters", 0.75),
        ("half a million", 500000.0),
        ("two and a half million", 2500000.0),
        ("three point one four", 3.14),
        ("zero point two five", 0.25),
        ("two point five million", 2500000.0),
        ("ten minus five", 5.0),
        ("There is one apple", 1.0),
        ("five seconds", 5.0),
        ("twenty seconds", 20.0),
        ("minus two thirds", -2 / 3),
        ("一百零五", 105.0),
        ("他有五个苹果", 5.0),
        ("一半", 0.5),
        ("两个半", 2.5),
        ("3个半小时", 3.5),
        ("3点5", 3.5),
        ("三点零五", 3.05),
        ("rose from 20 to 35", 35.0),
        ("Rounding 15.6 to 16", 16.0),
        ("converts 5 km to 3.1 miles", 3.1),
        ("made 3 and 5", 5.0),
        ("从20涨到35", 35.0),
        ("1 billion 500 million", 1500000000.0),
        ("2 million 300 thousand", 2300000.0),
        ("1만 5천", 15000.0),
        ("#### 2.\nFirst we add.\nTotal 7", 7.0),
        ("#### 2. Step two", 2.0),
        ("#### 42", 42.0),
        ("#### 42\nI checked 2 ways", 42.0),
        ("#### 2.", 2.0),
        (r"3\frac{1}{2}", 3.5),
        (r"3 \frac{1}{2}", 3.5),
        ("3 1/2", 3.5),
        (r"-3\frac{1}{2}", -3.5),
        ("2 and a half hours", 2.5),
        ("5 and 1/2", 5.5),
        ("2 thirds", 2 / 3),
        ("25 cm^2", 25.0),
        (r"25 \text{ cm}^2", 25.0),
        (r"25\text{ m}^{2}", 25.0),
        ("10 m s^{-1}", 10.0),
        ("10 m^{-3}", 10.0),
        ("2^{10}", 1024.0),
        ("答案是-5", -5.0),
        ("답은 -5", -5.0),
        (r"\boxed{x = 5}", 5.0),
        ("The answer is 5.\n1. Because of x.\n2. Because of y.", 5.0),
        ("42. That is the answer", 42.0),
        ("3,000", 3000.0),
        ("It costs $5.", 5.0),
        ("3% of 200 is 6", 6.0),
        ("$1,234.56", 1234.56),
        ("1.5M", 1500000.0),
        ("-$5M", -5000000.0),
        ("100K", 100000.0),
        ("5 hundred thousand", 500000.0),
        ("The 21st floor", 21.0),
    ],
)
def test_sizes_words_and_parts_are_read_whole(text: str, number: float) -> None:
    found = last_number(text)
    assert found is not None and found.value == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "number", "per"),
    [
        ("five percent", 5.0, 100),
        ("5 percent", 5.0, 100),
        ("5 per cent", 5.0, 100),
        ("百分之五", 5.0, 100),
        ("百分之50", 50.0, 100),
        ("5‰", 5.0, 1000),
        ("百分之五点五", 5.5, 100),
    ],
)
def test_per_cent_in_every_spelling(text: str, number: float, per: int) -> None:
    found = last_number(text)
    assert found is not None and (found.value, found.per) == (number, per)


@pytest.mark.parametrize(
    "text",
    [
        "one hundredth",
        "five to ten",
        "between two and five",
        "nineteen eighty-four",
        "two dozen",
        "2 dozen",
        "一万五",
        "三百五",
        "三五个",
        "二十多个",
        "几十个",
        "between 3 kg and 5 kg",
        "between 5 minutes and 10 minutes",
        "5 km to 10 km",
        "5公里到10公里",
        "5kg-10kg",
        "$5-$10",
        "5 – 10 minutes",
        "5 or 6",
        "1 in 5",
        "8 out of 10",
        "5 ± 2",
        "10-15 minutes",
        r"3\pi",
        "2π",
        r"\sqrt{2}",
        r"2\sqrt{3}",
        r"\frac{\pi}{2}",
        r"\frac{\sqrt{3}}{2}",
        r"\pi/2",
        "2^n",
        "3 + 4i",
        "3x4",
        "Python 3.11.4",
        "5分3秒",
        "2 hours 30 minutes",
        "5 feet 3 inches",
        "12h30",
        "5'10\"",
        "January 15, 2024",
        "2024年1月15日",
        "+1 555 123 4567",
        "555-1234",
        "(1, 2)",
        r"\boxed{2, 3}",
        "2,5 Millionen",
        "a 10x speedup",
    ],
)
def test_a_part_of_something_larger_is_undecided(text: str) -> None:
    found = last_number(text)
    assert found is not None and found.value is None


@pytest.mark.parametrize(
    "text",
    [
        "No one.",
        "one of them",
        "万一",
        "千万不要",
        "我十分高兴",
        "x^2",
        "H2O and v3.11.4",
        "v3.11.4",
        "COVID-19",
        "GPT-4",
    ],
)
def test_names_and_idioms_hold_no_number(text: str) -> None:
    assert last_number(text) is None
