"""The final answer in a text, and whether two of them are the same.

Two numbers are compared as exact fractions, so 0.50 = 1/2 and 0.33 ≠ 1/3; anything else as text, spaces and case aside.
Units and signs of money or percent do not count: 12 apples = 12, 25% = 25. Leaves out algebra (x + 1 is not 1 + x),
powers of ten and roots, which are compared as text.
"""

from __future__ import annotations

import re
from fractions import Fraction

_BOXED = "\\boxed{"
_HASHES = re.compile(r"####[ \t]*")
_SAID = re.compile(r"\banswer\W{0,4}(?:is\b|[:=])[\s:=*]*", re.IGNORECASE)
_AFTERWARDS = re.compile(r"(?:[.!?](?=\s|$)|,?\s(?:because|since|which|where|as|so)\b).*")

_DIGITS = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
_VALUE = rf"(?:(?P<whole>\d+)\s+(?=\d+\s*/))?(?<![A-Za-z])(?P<above>{_DIGITS})(?:\s*/\s*(?P<below>-?{_DIGITS}))?"
# A minus belongs to the number unless it stands behind something that it could be subtracted from.
_NUMBER = re.compile(rf"(?P<sign>(?<![\w)])[-+]\s*)?{_VALUE}")
_NUMBER_IN_PROSE = re.compile(rf"(?P<sign>(?<![\w)])[-+])?{_VALUE}")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")

# What LaTeX writes for a plain number, and what stands for it.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r" (\1)/(\2) "),
        (r"\\[dt]?frac\s*(\d)\s*(\d)", r" \1/\2 "),
        (r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}", r" \1 "),
        (r"\{,\}|\\[,!;:]", lambda match: "," if match[0] == "{,}" else ""),
        (r"\^\s*\{?\s*\\circ\s*\}?|°", " "),
        (r"\\(?:left|right)(?![A-Za-z])|\\[()\[\]$%]|\*\*|[$€£%()]", " "),
        (r"(?<=[A-Za-z])/(?=[A-Za-z])", " "),  # km/h
        (r"\b((?:mm|cm|dm|km|m|in|ft|yd|mi|units?|inches|feet|met(?:er|re)s?|miles))\s*(?:\^\s*\{?\d\}?|[²³])", r"\1"),
    )
)
_VARIABLE = re.compile(r"\d\s*[xyzni](?![A-Za-z])|(?<![A-Za-z])[xyzn]\s*[-+*/^]")
_NOT_A_NUMBER = re.compile(r"[\\^+*/!<>≤≥√π±\d]")


def final_answer(text: str) -> str | None:
    """What a text gives as its answer; None where the text is blank.

    The last `\\boxed{…}`, else what follows the last `####`, else the last "answer is" or "answer:" up to the end of
    its sentence, else the whole text where it is a number or has fewer than two words, else its last number.
    """
    for marked in (_last_boxed(text), _behind(_HASHES, text), _AFTERWARDS.sub("", _behind(_SAID, text))):
        if marked.strip(" *"):
            return marked.strip(" *")
    whole = text.strip()
    if not whole or as_number(whole) is not None or len(_WORD.findall(whole)) < 2:
        return whole or None
    numbers = [match[0] for match in _NUMBER_IN_PROSE.finditer(whole)]
    return numbers[-1] if numbers else whole


def _behind(mark: re.Pattern[str], text: str) -> str:
    """The rest of the line behind the last such mark that has any; empty where there is none."""
    lines = [text[match.end() :].partition("\n")[0].strip() for match in mark.finditer(text)]
    return next((line for line in reversed(lines) if line), "")


def _last_boxed(text: str) -> str:
    """The content of the last `\\boxed{…}`, whose braces may nest; empty where there is none or it is not closed."""
    start = text.rfind(_BOXED)
    if start < 0:
        return ""
    depth, first = 1, start + len(_BOXED)
    for place in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[first:place].strip()
    return ""


def is_boxed(text: str) -> bool:
    """Whether the text ends up with an answer in a `\\boxed{…}`."""
    return bool(_last_boxed(text))


def as_number(text: str) -> Fraction | None:
    """The exact number that a text is, such as `$1,234.50`, `x = 3/4`, `\\frac{3}{4}`, `2 1/2`, `25%` or `12 apples`.

    None for none or several, and for a number that something is done with, such as `2x`, `x/2`, `\\sqrt{3}`.
    """
    plain = text.rsplit("=", 1)[-1].replace("\u2212", "-")
    for pattern, replacement in _REWRITES:
        plain = pattern.sub(replacement, plain)
    found = list(_NUMBER.finditer(plain))
    if len(found) != 1 or _VARIABLE.search(plain):
        return None
    match = found[0]
    if _NOT_A_NUMBER.search(plain[: match.start()] + plain[match.end() :]):
        return None
    return _value(match)


def _value(match: re.Match[str]) -> Fraction | None:
    above, below = match["above"].replace(",", ""), (match["below"] or "1").replace(",", "")
    try:
        size = int(match["whole"] or 0) + Fraction(above) / Fraction(below)
    except (ValueError, ZeroDivisionError):  # thousands of digits, or nothing to divide by
        return None
    return -size if (match["sign"] or "").startswith("-") else size


def same_answer(said: str, wanted: str) -> bool:
    """Whether two final answers are the same number, or the same text where one of them is no number."""
    one, other = as_number(said), as_number(wanted)
    if one is not None and other is not None:
        return one == other
    return _as_text(said) == _as_text(wanted)


def _as_text(text: str) -> str:
    plain = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[()\[\]$,;:! ]|\\text\s*(?=\{)|[$\s]", "", text.casefold())
    return plain.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").strip(".*`")
