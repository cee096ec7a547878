"""The numbers of a text, in digits and in words.

A number is alone, next to a unit or a currency, or next to letters of a script without capitals
("答案是42"); a digit in a word is not one ("H2O", "v23", "GPT-4"), nor is an exponent or an index ("cm^2").
What may be read in two ways is undecided, as is a number that is a part of something larger: a range ("5-10",
"5 to 10"), a date, a time, a pair, a product, "3π", "2 hours 30 minutes". Words for sizes count ("2.5
million", "1万5千"), and numbers in words where a text has no digits.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import regex

DecimalMark = Literal[".", ","]

_SHOWN = 40
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SWAPPED = str.maketrans(",.", ".,")
_SPELT = str.maketrans("\u2212\ufe63\uff0d\u2044\u2215\u066b\u066c\uff0e", "---//.,.")
_SPACE = "[\\ \u00a0\u2007\u2009\u202f]"
_RAISED = r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}"
_EXPONENT = (
    rf"(?:\s?\^\s?(?:\{{\s?[-+]?\d{{1,9}}\s?\}}|[-+]?\d{{1,9}}(?![\d.,]*\d))|\*\*(?=\d)\d{{1,9}}|{_RAISED})"
)
_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar|rero)?|fév(?:rier)?|mar(?:ch|s|zo)?|märz|apr(?:il)?|avril|abril|"
    r"may|mai|mayo|jun[ei]?|juin|junio|jul[yi]?|juillet|julio|aug(?:ust)?|août|agosto|sep(?:t(?:ember|embre|"
    r"iembre)?)?|o[ck]t(?:ober|obre|ubre)?|nov(?:ember|embre|iembre)?|de[cz](?:ember)?|déc(?:embre)?|"
    r"dic(?:iembre)?)\.?"
)
_PERCENT = (
    r"percent|per\s?cent|pct|prozent|pour\s?cent|por\s?cien(?:to)?|por\s?cento|per\s?cento|procent|"
    r"процент\p{L}*|퍼센트|パーセント"
)
_TOKEN = regex.compile(
    rf"""
    (?(DEFINE)(?P<braces>\{{(?:[^{{}}]{{1,60}}+|\{{[^{{}}]{{0,60}}\}}){{0,9}}+\}}))
    (?:
    (?P<unread>
        \\frac\s?(?:(?&braces)|\\\w+|\w)\s?(?:(?&braces)|\\\w+|\w)
      | (?:\\sqrt\s?(?:\[[^\[\]]*\]\s?)?|[√∛∜])\s?(?:(?&braces)|\(?\d[\d.,]*\)?)
      | (?i:\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s|de\s)?{_MONTH},?\s(?:de\s)?\d{{4}}(?!\d))
      | (?<!\p{{L}})(?i:{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}(?!\d))
      | \d{{2,4}}\s?[年년]\s?\d{{1,2}}\s?[月월](?:\s?\d{{1,2}}\s?[日号號일])?
      | \d{{1,2}}\s?[月월]\s?\d{{1,2}}\s?[日号號일]
      | \d{{1,2}}\.\d\d\s?Uhr | (?<!\w)0[xXbBoO][\da-fA-F]+(?!\w)
      | (?<![\w)])(?:\+\d{{1,3}}(?:[\ .-]\(?\d{{2,5}}\)?)+[\ .-]\d{{4,}}
        |(?:\+\d{{1,3}}\ \d|0\d)(?:[\ .-]\d\d){{3,4}}(?![\ .-]?\d))                  # a telephone number
      | [(\[]\s?[-+]?\d[\d.,/]*(?:\s?[,;]\s[-+]?\d[\d.,/]*)+\s?[)\]]
    )
    | (?P<digits>
        \d{{1,3}}(?:,\d{{3}})+(?!\d|,\d)(?:\.\d+)?          # 1,234.5
      | \d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d|,\d)(?:\.\d+)?  # 1,23,456
      | \d{{1,3}}(?:\.\d{{3}})+,\d+(?!\d|[,.]\d)           # 1.234,5
      | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d|[,.]\d)          # 1.234.567
      | \d{{1,3}}(?:{_SPACE}\d{{3}})+(?!\d|{_SPACE}\d)(?:\.\d+|,\d{{1,2}}(?![\d,.]))?
      | \d{{1,3}}(?:['’_]\d{{3}})+(?!\d)(?:\.\d+)?
      | \d+(?:\.\d+)?
      | (?<![\w.])\.\d+
    )
    (?:[eE](?P<scale>[-+]?\d+)|\s?(?:×|\*|[xX]|·|\\times|\\cdot)\s?10(?P<tens>{_EXPONENT})|(?P<power>{_EXPONENT}))?
    (?:(?P<percent>\s?\\?[%％٪]|[\s-]?(?i:{_PERCENT})(?!\w))|(?P<mille>\s?‰))?
    )
    """,
    regex.VERBOSE,
)
_DIGITS = regex.compile(rf"-?(\d(?:[\d.,'’_]|{_SPACE}(?=\d))*)(?<=\d)")
_WHOLE = regex.compile(r"(?<![\w.,/^])-?(\d{1,6}) $")
_GLUE = frozenset("-–/,.:")
_CASED = regex.compile(r"[\p{Lu}\p{Ll}\p{Lt}]")
_CODES = (
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RMB"
    "|RON|RUB|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_CURRENCY = regex.compile(rf"(?<!\p{{L}})(?:{_CODES}|US|Rs|kr|Fr)$", regex.REVERSE)
_PRICED = regex.compile(rf"(?:\p{{Sc}}|(?<!\p{{L}})(?:{_CODES}|Rs\.?))\s?[-+]?$", regex.REVERSE)
_PRICE = regex.compile(rf"\s?(?:\p{{Sc}}|(?:{_CODES}|euros?|dollars?)(?!\p{{L}}))")
_SIGN = regex.compile(
    r"(?<![\p{Lu}\p{Ll}\p{Lt}\d_)\]}%°])([-+])\p{Sc}?$"
    r"|(?<!\d\s?|\p{Lu}|\p{Ll})(minus|negative|moins|menos|минус|[负負]|マイナス)\s?$"
    # With a space behind it: where a value is stated. Elsewhere it marks an item, or parts two numbers.
    r"|(?<=(?:[=≈≃≤≥→⇒({\[]|(?<=[^\s>]\s?)[<>]|\b(?:is|are|was|were|equals?|ist|est|es):?"
    r"|\b(?:answer|result|solution|total|value|antwort|ergebnis):)[^\S\n]?[*_$]*)-[^\S\n]\p{Sc}?$",
    regex.IGNORECASE | regex.REVERSE,
)
# An exponent, an index, the number of a name: no number of its own.
_INDEX = regex.compile(
    r"(?:\^\s?\{?|[\p{L}\d)}]_\{?|[\p{L})]\*\*)[-+]?\s?$|(?:^|(?<!\d)[^\p{L}\d])[\p{Lu}\p{Ll}]+-$",
    regex.REVERSE,
)
_BELOW = regex.compile(
    r"[\p{Lu}\p{Ll}π)}]\s?/$|(?<!\p{L})(?:log|ln|sin|cos|tan|sqrt|exp)(?:_\{?\w+\}?)?\s?[({]?$"
    r"|(?<!\p{L})(?:(?:root|log|logarithm|factorial|half|double|triple)\sof|twice|double|triple|half)\s$",
    regex.REVERSE | regex.IGNORECASE,
)
_DENIED = regex.compile(
    r"(?<!\p{L})(?:(?:not|never|rather\sthan|instead\sof|nicht|pas)\s|\p{L}+n['’]t\s)\p{Sc}?[-+]?$|不是\s?$",
    regex.REVERSE | regex.IGNORECASE,
)
_GOES_ON = regex.compile(
    r"\)?\s?\^|\s?(?:(?:\\cdot|[·⋅*×])\s?)?(?:\\(?:pi|sqrt|frac|ln|log|sin|cos|tan|exp)(?!\p{L})|[π√])|\s?pi(?!\w)"
    r"|(?:\s?[·⋅*×]\s?)?[ixyzn](?!\p{L})|\s?[hH]\s?\d\d(?!\d)|\s?[点點时時]\s?[\d半]|[\s-](?:half|halves|quarters?|dozens?)(?!\w)"
    r"|\s(?:squared|cubed|(?:raised\s)?to\sthe\s(?:\p{L}+\s)?power)(?!\w)"
)
_ARGUMENT = r"\s?(?:\{\s?([-+]?[\d.,]+)\s?\}|(\d))"
_FRACTION = regex.compile(rf"(?<=(\d)?)\\frac{_ARGUMENT}{_ARGUMENT.replace('[-+]?', '')}")
_LATEX: tuple[tuple[Any, str], ...] = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\{,\}", ","),
        (r"\\!|\\(?:left|right|displaystyle)(?![a-z])", ""),
        (r"\\[,;: ]", "\u00a0"),
        (r"\\q?quad(?![a-z])|\\[()\[\]]", " "),
        (r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]*)\}", r"\1"),
        (r"\s?\^\s?(?:\{\s?\\circ\s?\}|\\circ(?![a-z]))|\\degree(?![a-z])", "°"),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\\$", "$"),
        (r"\\pm(?![a-z])", "±"),
        (r"\\[tT]imes(?![a-z])", "×"),
    )
)
_AND_A_HALF = regex.compile(
    r"(?<=\d)\s(?:y medi[ao]|et demie?|e mezz[oa]|e mei[ao]|и половин\p{L}+)(?!\p{L})", regex.IGNORECASE
)
_PARTS: tuple[tuple[Any, str], ...] = tuple(
    (regex.compile(pattern), into)
    for pattern, into in (
        (r"(?<=\d)[点點](?=\d++(?!\s?分(?!之)))", "."),
        (r"百分之\s?(\d[\d.]*)", r"\1%"),
        (r"千分之\s?(\d[\d.]*)", r"\1‰"),
        (r"(\d+)\s?分[の之]\s?(\d+)", r"\2/\1"),
        (r"(?<=\d)(?:\s?(?:个|個|小时|小時|時間|年|天)?半|\s?(?:시간|년)\s?반)", " 1/2"),
    )
)
_COLOUR = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_POWERS = regex.compile(_RAISED)
_LOWERED = regex.compile(r"(?<=\d\)?)[₀-₉]{1,2}(?![₀-₉])")
_VULGAR = regex.compile(r"(?<=(\d)?)[¼-¾⅐-⅞]")
_WIDE = regex.compile(r"(?<=\d)，(?=\d{3}(?!\d))")
_DASH = regex.compile(r"(?<![\d\w)%]\s?)[–‐‑](?=\p{Sc}?\d)")


_NAME = r"[\p{L}°][\p{L}²³/]{0,14}"
_LINK = regex.compile(
    rf"""(?P<unit>\s?[%‰]|\s?\p{{Sc}}|[\s-]?{_NAME})??
    (?:\s(?P<to>to|bis|à|a|до|tot|til|till|đến)\s|\s?(?P<tilde>[~〜～–—至到]|から)\s?
      |\s(?P<or>or|oder|ou|o|или|x|times|raised\sto|to\sthe\spower\sof|(?:divided|multiplied)\sby|out\sof)\s|\s?(?P<mid>±|\+/-|[×·⋅∙]|\\(?:cdot|ast)(?!\p{{L}})|[或和与與と]|或者|または)\s?
      |(?P<star>[ \u00a0]?)(?P<times>\*{{1,2}}|\+)(?P=star)
      |\s(?P<and>and|und|et|y|e|и|og|och|en)\s|\s(?P<of>in|of)\s|(?P<dash>\s?-\s?))(?P<price>\p{{Sc}})?[-+]?""",
    regex.VERBOSE | regex.IGNORECASE,
)
_BETWEEN = regex.compile(
    r"(?<!\p{L})(?:(?:between|zwischen|entre|tra|między|между|mellan|mellem)\s(?:\p{L}+\s)?|(?:de|da|dal)\s)"
    r"\p{Sc}?[-+]?$|(?:在|介于)\s?$",
    regex.IGNORECASE | regex.REVERSE,
)
_CHANGE = regex.compile(  # a verb after which "from 20 to 35" is no range
    r"(?<!\p{L})(?:rose|ris[ei]|fell|fall|gr[eo]w|increas|decreas|drop|declin|round|convert|chang|reduc|rais|lower|went"
    r"|go[ei]|mov|jump|climb|shr[aiu]nk|simplif|add|equal|amount|correspond|expand|scal|adjust|updat|correct|cut|switch"
    r"|improv|passé|augment|baiss|monté|arrondi|aument|subi|baj[aó]|redonde|converti|st[ie]+g|sank|sink|rund|gerundet)"
    r"\p{L}*(?:\s[\p{L}'’]+){0,6}?\s\p{Sc}?[-+]?$"
    r"(?<!(?<!\p{L})(?:to|is|are|was|in|within|about|approximately|around|roughly|takes?)\s\p{Sc}?[-+]?)",
    regex.IGNORECASE,
)
_CHANGED = regex.compile(r"[涨漲降升增减減加变變上下入等于為为]")
_UNIT = regex.compile(rf"[\s-]?(?:{_NAME}|[\p{{Sc}}%‰'′\"″])")
_LARGER = regex.compile(
    r"[\s-]?(?P<unit>[\p{L}$€£°'′\"″]{1,12})(?:,?\s(?:(?:and|und|et|y|e)\s)?)?", regex.IGNORECASE
)
_COMPOUNDS = tuple(  # units, and the smaller ones that a quantity goes on with
    tuple(frozenset(names.split()) for names in scale)
    for scale in (
        (
            "year yr y jahr an ano año 年 년",
            "month mo monat mois mes 个月 個月 ヶ月 月 개월",
            "week wk woche semaine semana 周 星期 주",
            "day d tag jour día dia 天 日 일",
            "hour hr h stunde std heure hora 小时 小時 時間 时 時 시간 시",
            "minute min m minuto 分 분",
            "second sec s sekunde seconde segundo 秒 초",
        ),
        ("mile mi", "yard yd", "foot feet ft ' ′", 'inch inche in " ″'),
        (
            "kilometer kilometre km 公里",
            "meter metre m 米",
            "centimeter centimetre cm 厘米",
            "millimeter mm 毫米",
        ),
        ("ton tonne t 吨", "kilogram kg 公斤", "gram g 克"),
        ("dollar $ usd us$", "cent ct ¢"),
        ("euro € eur", "cent ct"),
        ("£ gbp pound", "penny pence p"),
        ("stone st", "pound lb", "ounce oz"),
        ("元 块 rmb cny", "角 毛", "分"),
        ("degree °", "' ′ 分", '" ″ 秒'),
    )
)
_NO_UNITS = re.compile(
    "a|am|are|and|as|at|each|for|from|has|have|if|in|is|it|left|of|on|or|per|remain|remains|remaining|so|that|the"
    "|they|this|to|total|altogether|was|were|which|would|个|個|つ"
)
_MATHS = regex.compile(r"[\\^_√π{}=<>≤≥≠±|+#\d]|(?<!\*)\*(?!\*)|(?<!\p{L})/|/(?!\p{L})|(?<!\w)-(?=\p{L})")
_BOUND = regex.compile(
    r"(?<!\p{L})(?:not|no|never|least|most|more|less|fewer|than|over|under|above|below|up\sto|nicht|kein\p{L}*|pas"
    r"|mindestens|höchstens|über|unter|au\s(?:moins|plus)|al\smenos)(?!\p{L})|n['’]t(?!\p{L})|不|非|至少|至多|超过|少于|大于|小于",
    regex.IGNORECASE,
)
_BOUND_AFTER = regex.compile(r"[\s\p{L}]*?(?:\s(?:or|and|oder|ou|o)\s|以上|以下|以内|未満)", regex.IGNORECASE)
_BASE = re.compile(r"\A\)?_(?:\{\s?\d{1,2}\s?\}|\d{1,2}(?!\d))")
_LETTERED = regex.compile(r"(?![mgshlLtVWANJKCF])[\p{Lu}\p{Ll}](?!\p{L})")
_SIZES = {  # powers of ten: words, and signs of scripts without spaces
    12: (
        "trillions?|billionen|billón|billones|триллион(?:а|ов)?",
        "兆(?![瓦赫帕焦欧歐伏字比])|조(?![각항금])",
    ),
    9: (
        "billions?|bn|milliarden?|mrd|mld|milliards?|mil millones|bilh(?:ões|ão)|mili?ard\\p{L}{0,2}"
        "|miljard|млрд|миллиард(?:а|ов)?|milyar|अरब|tỷ|مليار",
        "",
    ),
    8: ("", "[亿億억]"),
    7: ("crores?|करोड़", ""),
    6: (
        "millions?|millionen|millioner|mio|mln|millones|millón|milh(?:ões|ão)|milion\\p{L}{0,2}|miljoen|miljon(?:er)?"
        "|млн|миллион(?:а|ов)?|milyon|juta|triệu|مليون|ملايين",
        "ล้าน",
    ),
    5: ("lakhs?|lacs?|लाख", "แสน"),
    4: ("", "[万萬만]|หมื่น"),
    3: (
        "thousand|tausend|mille|mila|mil|тыс|тысяч[аи]?|tys|tusen|duizend|हज़ार|हजार|ribu|nghìn|ألف|آلاف",
        "千(?![克米瓦卡焦伏赫帕升牛安欧歐乏比]|字节|字節|电子|電子|摩尔)|천|พัน",
    ),
    2: ("hundred|hundert", "百(?![帕分])|백"),
}
_NO_LETTER = r"(?![\p{Ll}\p{Lu}])"
_SIZE = regex.compile(
    "|".join(
        rf"\s?(?P<e{power}>(?:{words or '(?!)'}){_NO_LETTER}|{signs or '(?!)'})"
        for power, (words, signs) in _SIZES.items()
    ),
    regex.IGNORECASE,
)
_LETTER = regex.compile(r"(?:(?P<e3>[kK])|(?P<e6>M)|(?P<e9>B))(?![\p{Ll}\p{Lu}\d_²³^])")
_PRICE_LETTER = regex.compile(
    r"\s?(?:(?P<e3>k)|(?P<e6>mn?)|(?P<e9>b)|(?P<e12>tn?))(?![\p{Ll}\p{Lu}\d_/²³^])", regex.IGNORECASE
)
_CARDINALS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30,
    "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_ORDINALS = {
    "first": 1, "second": 2, "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "fifteenth": 15,
    "sixteenth": 16, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50, "hundredth": 100,
    "thousandth": 1000, "millionth": 10**6,
}  # fmt: skip
_ROUNDING = 1e-6  # relative; a whole number is not rounded
_LONGEST = 20  # words or characters of a number
_CARDINAL = "|".join(_CARDINALS)
_PART = "|".join(["halves", "half", *(f"{name}s?" for name, below in _ORDINALS.items() if below > 2)])
_IN_ENGLISH = regex.compile(
    rf"\b(?:an?\s)?(?:{_CARDINAL}|{_PART}|dozens?)"
    rf"(?:(?:\ |\u00a0|-)(?:and[\s-]|of[\s-])?(?:an?[\s-])?"
    rf"(?:{_CARDINAL}|{_PART}|(?<=-)(?:first|second)|dozens?|point(?=[\s-](?:{_CARDINAL})\b)))*\b",
    regex.IGNORECASE,
)
_AND_A_PART = regex.compile(rf"(?<=\d)[\s-]and[\s-]((?:an?|{_CARDINAL})[\s-](?:{_PART}))\b", regex.IGNORECASE)
_PARTS_OF = regex.compile(rf"(?<![\w.,/])(\d+)[\s-](?!half|halves|quarter)({_PART})\b", regex.IGNORECASE)
_LONE_PART = regex.compile(rf"(an?\s)?(?:{_PART})")
_LONE_AFTER = regex.compile(r"[\s.!*,;:?)]*$|\s(?:of|per\s?cent)\b", regex.IGNORECASE)
_ODD = regex.compile(r"[\s-](?:first|second|odd|some|score|plus)\b|fold\b|ish\b", regex.IGNORECASE)
_STATED_ONE = regex.compile(
    r"(?:^|[=:]|\b(?:is|are|was|were|equals?|to|has|have|had|only|just|exactly|gets?|leaves?|left|minus|plus|times))\W*$",
    regex.IGNORECASE,
)
_PRONOUN = regex.compile(
    r"\s(?:of|an?other|who|that|which|day|could|can|may|might|must|should|would|has|needs|knows|is)\b",
    regex.IGNORECASE,
)
_CHINESE = {char: place % 10 for place, char in enumerate("〇一二三四五六七八九零壹贰叁肆伍陆柒捌玖")} | {
    "两": 2,
    "兩": 2,
}
_CHINESE_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000,
                  "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}  # fmt: skip
_IN_CHINESE = regex.compile(rf"[{''.join([*_CHINESE, *_CHINESE_UNITS])}]+")
_CLASSIFIER = regex.compile(
    "[个個只隻人元块塊岁歲天年次张張条條件米公斤吨克升秒时時小名位头頭辆輛杯种種倍页頁道间間支颗顆粒朵棵双雙把台首句篇层層步题題场場队隊组組本冊枚円匹]|分[钟鐘]"
)
_APPROXIMATE = tuple("几幾数數")
_MORE = tuple("几幾多余餘來来")


@dataclass(frozen=True, slots=True)
class Number:
    """A number read from a text; `value` None is an undecided one, such as a range.

    `text` is its source text, from `start` to `end` of what was read. `per` is 100 where a percent sign
    follows, 1000 for a per mille sign.
    """

    value: float | None
    text: str
    per: int = 1
    start: int = 0
    end: int = 0

    def equals(self, other: "Number", tolerance: float = 0.0, absolute: float = 0.0) -> bool:
        """Whether two numbers are the same; "50%" is both 50 and 0.5 beside one without the sign.

        An undecided one equals none. Two whole numbers differ by a digit of any place, unless `tolerance` is
        wider than what rounding needs (1e-6).
        """
        if self.value is None or other.value is None:
            return False
        ours, theirs = _whole(self), _whole(other)
        if self.per == other.per and ours is not None and theirs is not None:
            relative = tolerance * abs(theirs) if tolerance > _ROUNDING else 0.0
            return abs(ours - theirs) <= max(relative, absolute)
        readings = [self.value] if 1 in (self.per, other.per) or self.per == other.per else []
        if self.per != other.per:
            readings.append(self.value / self.per * other.per)
        return any(abs(one - other.value) <= max(tolerance * abs(other.value), absolute) for one in readings)


def read_numbers(text: str, decimal: DecimalMark = ".") -> list[Number]:
    """The numbers of a text in order, infinite ones left out. "1,234.50" is 1234.5, "1.234,50" by comma."""
    return _read_all(text, decimal)[1]


def last_of(text: str, decimal: DecimalMark = ".") -> Number | None:
    """The last number of a text that is not denied ("7, not 8"); undecided where all are."""
    plain, numbers = _read_all(text, decimal)
    given = [
        number for number in numbers if not _DENIED.search(plain[max(0, number.start - 24) : number.start])
    ]
    return given[-1] if given else replace(numbers[-1], value=None) if numbers else None


def only_number(text: str) -> tuple[Number, str] | None:
    """The one number of a text that says nothing else but its unit, and that unit; None for any other text.

    Words before the number say nothing ("the answer is 42"), unless they bound or deny it ("at least 42").
    """
    plain, numbers = _read_all(text, ".")
    if len(numbers) != 1 or numbers[0].value is None:
        return None
    number = numbers[0]
    before, after = _SIGN.sub("", plain[: number.start]), _BASE.sub("", plain[number.end :])
    if before.endswith("$") and after.startswith("$"):
        before, after = before[:-1], after[1:]
    if _MATHS.search(before) or _MATHS.search(after) or _BOUND.search(before) or _BOUND_AFTER.match(after):
        return None
    if _LETTERED.match(after):
        return None
    return number, unit_of(before, after)


def sentence_number(text: str) -> tuple[Number, str] | None:
    """The last number of a sentence, and its unit where that is a known one."""
    plain, numbers = _read_all(text, ".")
    if not numbers or numbers[-1].value is None:
        return None
    unit = unit_of(plain[: numbers[-1].start], plain[numbers[-1].end :])
    return numbers[-1], unit if unit.isdecimal() else ""


def exact(number: Number) -> Decimal | None:
    """A number's value as a decimal, per cent as a share; a whole number of any length keeps its digits."""
    if number.value is None:
        return None
    digits = _DIGITS.match(number.text) if abs(number.value) >= 10**15 else None
    if digits and float(spelt := _decimal(digits[1])) == abs(number.value):
        return Decimal(f"{spelt}e-{len(str(number.per)) - 1}").copy_sign(Decimal(number.value))
    return Decimal(f"{number.value / number.per:.15g}").normalize()


def _whole(number: Number) -> int | None:
    value = exact(replace(number, per=1))
    return int(value) if value is not None and value == value.to_integral_value() else None


def unit_of(before: str, after: str) -> str:
    """The unit next to a number: the same text for "cm" and "centimetres", a number for one of _COMPOUNDS."""
    price = _PRICED.search(before)
    following = _UNIT.match(after)
    unit = (price or following or [""])[0].strip().strip("-+ ")
    unit = unit if len(unit) == 1 else unit.casefold()
    if _NO_UNITS.fullmatch(unit):
        return ""
    known = [
        f"{place}{rank}"
        for place, scale in enumerate(_COMPOUNDS, start=1)
        for rank, names in enumerate(scale)
        if _among(unit, names)
    ]
    return known[-1] if known else unit.removesuffix("s") if len(unit) > 3 else unit


def folded(text: str) -> str:
    """A text after Unicode NFKC, which alone would make 52 of "5²" and of "5₂", and 21/2 of "2½"."""
    powers = _POWERS.sub(lambda found: f"^{found[0].translate(_SUPERSCRIPTS)}", _VULGAR.sub(_spelt_out, text))
    return unicodedata.normalize("NFKC", _LOWERED.sub(r"_\g<0>", powers))


def _read_all(text: str, decimal: DecimalMark) -> tuple[str, list[Number]]:
    """The text as it was read, and its numbers."""
    plain = _plain(text)
    if decimal == ",":
        plain = plain.translate(_SWAPPED)
    numbers = _in_digits(plain)
    return (plain, numbers) if numbers else _in_words(text)


def _plain(text: str) -> str:
    """The text with LaTeX, fractions and signs spelt in one way."""
    plain = _COLOUR.sub("", text).translate(_SPELT) if "\x1b" in text else text.translate(_SPELT)
    if "\\" in plain or "{" in plain:
        for pattern, into in _LATEX:
            plain = pattern.sub(into, plain)
        plain = _FRACTION.sub(
            lambda found: f"{' ' if found[1] else ''}{found[2] or found[3]}/{found[4] or found[5]}", plain
        )
    if not plain.isascii():
        plain = _VULGAR.sub(_spelt_out, _DASH.sub("-", plain))
    plain = _AND_A_PART.sub(lambda found: _ratio(found[1]) or found[0], _PARTS_OF.sub(_ratio_of, plain))
    plain = re.sub(r"(?<=\d) and (?=\d{1,3}/\d)", " ", _AND_A_HALF.sub(" 1/2", plain))
    if plain.isascii():
        return plain
    for pattern, into in _PARTS:
        plain = pattern.sub(into, plain)
    return str(_WIDE.sub(",", plain))


def _spelt_out(fraction: Any) -> str:
    digits = unicodedata.normalize("NFKC", fraction[0]).replace("\u2044", "/")
    return f" {digits}" if fraction[1] else digits


def _ratio(spoken: str) -> str:
    """ " 3/4" for "three quarters"; nothing for no fraction."""
    value = _english(spoken)
    return f" {value.numerator}/{value.denominator}" if value is not None and value < 1 else ""


def _ratio_of(found: Any) -> str:
    name = found[2].lower()
    below = _ORDINALS[name.removesuffix("s")]
    return f"{found[1]}/{below}" if name.endswith("s") == (int(found[1]) != 1) else str(found[0])


def _in_digits(plain: str) -> list[Number]:
    numbers: list[Number] = []
    size = 1
    for chain in _chains(plain):
        number, larger = _read(chain, plain), size
        size, end = 1, number.end
        if number.value is not None and number.per == 1:
            end, size = _size(plain, chain[0].start(), end)
            number = replace(number, value=number.value * size, end=end)
        if number.value is not None and _GOES_ON.match(plain, end):
            number = _undecided(plain, number.start, end)
        last = numbers[-1] if numbers else None
        if last is not None:
            joined = _joined(plain, last, larger, number, size)
            if joined is not None:
                numbers[-1], size = joined, min(size, larger)
                continue
            if _open(plain, last, number):
                number = _undecided(plain, last.start, number.end)
        while numbers and numbers[-1].start >= number.start:
            numbers.pop()
        if number.value is None or math.isfinite(number.value):
            numbers.append(number)
    return numbers


def _undecided(plain: str, start: int, end: int) -> Number:
    return Number(None, plain[start:end][:_SHOWN], 1, start, end)


_Chain = list["regex.Match[str]"]


def _chains(text: str) -> Iterator[_Chain]:
    """The tokens of a text, those joined by one character of _GLUE together, without those of names."""
    chain: _Chain = []
    end, named = -1, False
    for token in _TOKEN.finditer(text):
        start = token.start()
        if end < 0 or not (start == end + 1 and text[end] in _GLUE):
            if chain:
                yield chain
            chain = []
            named = token["unread"] is None and _in_name(text, start)
        end = token.end()
        if not named:
            chain.append(token)
    if chain:
        yield chain


def _in_name(text: str, start: int) -> bool:
    before = text[max(0, start - 24) : start]
    return bool(
        before and ((_CASED.match(before[-1]) and not _CURRENCY.search(before)) or _INDEX.search(before))
    )


def _read(chain: _Chain, text: str) -> Number:
    start, end = chain[0].start(), chain[-1].end()
    before = text[max(0, start - 16) : start]
    sign = _SIGN.search(before)
    negative = sign is not None and sign[1] != "+"
    per = 100 if chain[-1]["percent"] else 1000 if chain[-1]["mille"] else 1
    said = ("-" if negative else "") + text[start:end]
    undecided = Number(None, said[:_SHOWN], 1, start, end)
    if any(token["digits"] is None for token in chain) or _BELOW.search(before):
        return undecided
    if len(chain) == 1:
        value = _value(chain[0])
    elif len(chain) == 2 and text[chain[0].end()] == "/" and _value(chain[1]):
        value = _value(chain[0]) / _value(chain[1])
        if mixed := _WHOLE.search(before):
            value += int(mixed[1])
            negative = negative or mixed[0].startswith("-")
            start -= len(mixed[1]) + 1
    else:
        return undecided
    return replace(undecided, value=-value if negative else value, text=said, per=per, start=start)


def _value(token: Any) -> float:
    """The value of one token without its sign; infinite beyond what a float holds."""
    plain = _decimal(token["digits"])
    try:
        if token["power"] is not None:
            return float(float(plain) ** int(_exponent(token["power"])))
        tens = token["scale"] or _exponent(token["tens"] or "")
        return float(f"{plain}e{tens}") if tens else float(plain)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _decimal(digits: str) -> str:
    """The digits of a number without what groups them, the point before its decimals."""
    grouped = "." in digits or not digits.replace(",", "").isdecimal()
    if ("," in digits and grouped and digits.rfind(",") > digits.rfind(".")) or digits.count(".") > 1:
        digits = digits.translate(_SWAPPED)
    return "".join(char for char in digits if char.isdecimal() or char == ".")


def _exponent(text: str) -> str:
    return "".join(char for char in text.translate(_SUPERSCRIPTS) if char.isdecimal() or char in "-+")


def _size(text: str, start: int, end: int) -> tuple[int, int]:
    """The place after the words or the letter for a number's size ("million", "k"), and the size."""
    size = 1
    while (
        size < 10**12
        and text[end : end + 2].strip()[:1].isalpha()
        and (found := _SIZE.match(text, end))
        and found.lastgroup
    ):
        size, end = size * 10 ** int(found.lastgroup[1:]), found.end()
    letter = _letter(text, start, end) if size == 1 else None
    return (letter.end(), 10 ** int(str(letter.lastgroup)[1:])) if letter else (end, size)


def _letter(text: str, start: int, end: int) -> Any:
    """A letter for a size: "$5 mn", "5 k€", or right behind the number "300k"; "$5 m$" is LaTeX."""
    found = _PRICE_LETTER.match(text, end)
    if found:
        before, after = _PRICED.search(text[max(0, start - 6) : start]), _PRICE.match(text, found.end())
        if bool(before) != bool(after):
            return found
    return _LETTER.match(text, end)


def _joined(plain: str, last: Number, larger: int, number: Number, size: int) -> Number | None:
    """ "1 billion 500 million" and "1万5千" as one number; undecided "1万5" and "2 million 300"."""
    if not (larger > 1 and last.value and number.value and number.per == 1 and number.value < larger):
        return None
    gap = plain[last.end : number.start]
    both = _undecided(plain, last.start, number.end)
    if not gap.strip(" ,") or gap == " and ":
        if (size > 1 or not gap) and not (size == 1 and number.value < 10 <= larger / 10):
            return replace(both, value=last.value + math.copysign(number.value, last.value))
        if gap in ("", " "):
            return both
    return None


def _open(plain: str, last: Number, number: Number) -> bool:
    """Whether two numbers are a range, a choice, a product, or one quantity in two units."""
    gap = plain[last.end : number.start]
    after = _UNIT.match(plain, number.end)
    following = after[0].strip(" -").casefold() if after else ""
    larger = _LARGER.fullmatch(gap)
    if larger and (larger["unit"] in ("'", "′") or _smaller(larger["unit"].casefold(), following)):
        return True
    link = _LINK.fullmatch(gap) if len(gap) < _LONGEST else None
    if not link:
        return False
    unit = (link["unit"] or "").strip(" -").casefold()
    before = plain[max(0, last.start - 80) : last.start]
    if link["of"] or (link["dash"] and not unit and not link["price"]):
        return bool(link["of"] and not unit)
    if link["or"] and link["or"].casefold() == "out of":
        return True
    if unit and following and not (unit.startswith(following) or following.startswith(unit)):
        return False
    if link["and"] or (link["mid"] or "或") in "和与與と" or (link["to"] or "").casefold() == "a":
        return bool(_BETWEEN.search(before)) and not _CHANGE.search(before)
    changes = link["to"] and (_CHANGE.search(before) or _CHANGE.search(f"{unit} "))
    return not (changes or _CHANGED.search(unit))


def _smaller(unit: str, other: str) -> bool:
    """Whether the second unit is a smaller one of the same kind."""
    return any(
        _among(unit, larger) and any(_among(other, smaller) for smaller in scale[place:])
        for scale in _COMPOUNDS
        for place, larger in enumerate(scale, start=1)
    )


def _among(unit: str, names: frozenset[str]) -> bool:
    return bool(unit) and any(
        unit in (name, f"{name}s", f"{name}n", f"{name}en") or (not name.isascii() and unit.startswith(name))
        for name in names
    )


def _in_words(text: str) -> tuple[str, list[Number]]:
    """The numbers in English or Chinese words, of a text without digits, read as if they were in digits."""
    runs = sorted([*_english_runs(text), *_chinese_runs(text)], key=lambda run: run[0])
    unread = [_undecided(text, start, end) for start, end, digits in runs if digits is None]
    if not runs or runs[-1][2] is None:
        return text, unread
    pieces, done = [], 0
    for start, end, digits in runs:
        if digits is not None:
            pieces += [text[done:start], digits]
            done = end
    plain = _plain("".join([*pieces, text[done:]]))
    return plain, [*unread, *_in_digits(plain)]


_Run = tuple[int, int, str | None]  # where a number in words stands, and its digits; None: undecided


def _english_runs(text: str) -> Iterator[_Run]:
    for run in _IN_ENGLISH.finditer(text):
        spoken = run[0].lower()
        before, after = text[max(0, run.start() - _LONGEST) : run.start()], text[run.end() :][:_LONGEST]
        if spoken == "one" and (_PRONOUN.match(after) or not _STATED_ONE.search(before)):
            continue
        # "The third", "a quarter past", "half the time": a part alone is one of something, or ends the text.
        lone = _LONE_PART.fullmatch(spoken)
        if lone and not (_LONE_AFTER.match(after) and (lone[1] or spoken == "half")):
            continue
        value = None if _ODD.match(after) else _english(spoken)
        yield (*run.span(), None if value is None else str(value))


def _english(spoken: str) -> Fraction | None:
    """The value of English words; None for several numbers, such as "one two three"."""
    tokens = re.sub("[\u00a0 -]+", " ", spoken.lower()).split()[:_LONGEST]
    place = next((place for place, token in enumerate(tokens) if _below(token)), None)
    if place is not None:
        return _scaled(_fraction(tokens[:place], tokens[place]), tokens[place + 1 :])
    if "point" not in tokens:
        return _cardinal(tokens)
    whole, rest = _cardinal(tokens[: tokens.index("point")]), tokens[tokens.index("point") + 1 :]
    count = next((n for n, token in enumerate(rest) if _CARDINALS.get(token, 10) > 9), len(rest))
    decimals = "".join(str(_CARDINALS[token]) for token in rest[:count])
    return _scaled(Fraction(f"{whole}.{decimals}"), rest[count:]) if whole is not None and count else None


def _below(token: str) -> int:
    """The denominator that a word names ("thirds"), the place of an ordinal; 0 for another word."""
    return _ORDINALS.get("half" if token == "halves" else token.removesuffix("s"), 0)


def _fraction(before: Sequence[str], name: str) -> Fraction | None:
    """ "two and a half", "three quarters", "twenty-first"."""
    below, many, coarse = _below(name), name.endswith("s"), name[:4] in ("half", "halv", "quar")
    place = len(before) - [*reversed(before)].index("and") if "and" in before else 0
    whole = _cardinal(before[:place]) if place else Fraction(0)
    top = [token for token in before[place:] if token not in ("a", "an")]
    over = _cardinal(top) if top else Fraction(1)
    if whole is None or not over:
        return None
    if top and not many and not coarse and below < 10 and 20 <= _CARDINALS.get(top[-1], 0) < 100:
        return whole + over + below
    if (below < 3 and not coarse) or many != (over != 1) or (coarse and over >= below):
        return None
    return None if below >= 100 and top == ["one"] else whole + over / below


def _scaled(value: Fraction | None, scales: Sequence[str]) -> Fraction | None:
    """A value times "hundred", "million" …"""
    for scale in scales:
        if scale in ("a", "an", "of"):
            continue
        if value is None or _CARDINALS.get(scale, 0) < 100:
            return None
        value *= _CARDINALS[scale]
    return value


def _cardinal(words: Sequence[str]) -> Fraction | None:
    tokens = [word for word in words if word not in ("a", "an", "and")]
    total, scale = 0, 10**15
    section: int | None = None
    room = 1000  # what the next word must stay below
    for token in tokens:
        value = _CARDINALS.get(token, -1)
        if 1000 <= value < scale:
            total += (1 if section is None else section) * value
            section, room, scale = None, 1000, value
        elif value == 100 and (section is None or 0 < section < 100) and room != 100:
            section, room = (section or 1) * 100, 100
        elif 0 <= value < 100 and (section is None or 0 < value < room):
            section, room = (section or 0) + value, 10 if value >= 20 else 0
        else:
            return None
    return Fraction(total + (section or 0)) if tokens else None


def _chinese_runs(text: str) -> Iterator[_Run]:
    for run in _IN_CHINESE.finditer(text):
        start, end = run.span()
        before, after = text[max(0, start - 2) : start], text[end : end + _LONGEST]
        if run[0] in ("百", "千", "万") and after.startswith("分之"):
            continue
        if run[0] == "一" and after.startswith("半"):
            yield start, end + 1, "1/2"
        elif before.endswith(_APPROXIMATE) or (
            len(run[0]) > 1 and run[0][-1] in _CHINESE_UNITS and after.startswith(_MORE)
        ):
            yield start, end, None
        elif len(run[0]) < _LONGEST and _counts(run[0], before, after):
            yield start, end, _chinese(run[0], before)


def _counts(run: str, before: str, after: str) -> bool:
    """Whether Chinese numerals are a number here, and not a part of a word: 统一, 万一, 千万."""
    if run[0] in "万萬亿億" or (len(run) > 1 and run[0] in "千仟" and run[1] in "万萬"):
        return False
    if (
        len(run) > 1
        or len(after.strip(" 。.！!")) < 2
        or before.endswith(("分之", "分の", "负", "負", "点", "點"))
        or after.startswith(("分之", "分の"))
        or (after[:1] in ("点", "點") and after[1:2] in _CHINESE)
    ):
        return True
    return run != "一" and run in (*_CHINESE, "十") and bool(_CLASSIFIER.match(after))


def _chinese(run: str, before: str) -> str | None:
    """The digits of Chinese numerals; None for 三五 (three to five) and 一万五 (15,000, or 10,005)."""
    if not _CHINESE_UNITS.keys() & set(run):
        spelt = "".join(str(_CHINESE[char]) for char in run)
        return None if len(run) == 2 and "0" not in spelt and not before.endswith(("点", "點")) else spelt
    if len(run) > 2 and run[-1] in _CHINESE and _CHINESE_UNITS.get(run[-2], 0) > 10:
        return None
    total = section = digit = 0
    for char in run:
        unit = _CHINESE_UNITS.get(char, 0)
        if not unit:
            digit = _CHINESE[char]
        elif unit < 10**4:
            section, digit = section + (digit or 1) * unit, 0
        else:
            whole = section + digit
            total, section, digit = (total + whole * unit) if whole else max(total, 1) * unit, 0, 0
    return str(total + section + digit)
