"""Likely personal data: e-mail addresses, phone, card and account numbers, US social security numbers, IP addresses.

The value is masked wherever it is reported. Every pattern has bounded repeats, so a hostile text takes linear time.
Leaves out: names, postal addresses and birthdays, which no pattern tells from ordinary text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from tutelage.data.formats import Parsed
from tutelage.data.report import Finding, finding_at

_email = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
# Reserved for examples (RFC 2606), and what only looks like an address: icon@2x.png, git@host.
_example_email = re.compile(
    r"@(?:.*\.)?(?:example\.(?:com|org|net)|example|test|invalid)$|\.(?:png|jpe?g|gif|svg|webp)$|^git@", re.IGNORECASE
)
_card = re.compile(r"(?<![\w.,-])(?:\d{13,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3\d{3}([ -])\d{6}\2\d{5})(?![\w-]|[.,]\d)")
# First digits and lengths of the large card schemes (ISO/IEC 7812 ranges as published by their issuers).
_card_scheme = re.compile(
    r"4(?:\d{12}|\d{15})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35\d{14}|3[068]\d{12}"
)
_digit_run = re.compile(r"\d(?:[ .()-]{0,2}\d){8}")
_iban_start = re.compile(r"[A-Z]{2}\d\d")
_iban = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,4})?)(?!\w)")
_ssn = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_ipv4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_numbering = re.compile(r"(?:\bv|version|release|section|clause|chapter|paragraph)\.? ?$", re.IGNORECASE)
_phone = re.compile(
    r"(?<![\w.,/+-])(?<!\d )(?:"
    r"\+\d(?:[ .()-]{0,2}\d){8,14}"  # international
    r"|(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])\d{3}[.-]\d{4}"  # North American: (212) 867-5309
    r"|0\d(?:[ .]\d\d){4}"  # 01 42 68 53 00
    r"|\(?0\d{2,4}\)?[ -]\d{3,4}[ -]?\d{3,4}"  # 020 7123 4567
    r")(?![\w/]| \d|[.,-]\d)"
)
# Numbers set aside for films and examples: 555 in North America, and Ofcom's ranges in the United Kingdom.
_fictional_phone = re.compile(r"^\(?555|555[ .-]?01\d\d$|7946 ?0\d{3}$|7700 ?900 ?\d{3}$")
# Lengths of the account numbers of the SWIFT IBAN registry's larger countries.
IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "NL"), 18),
    **dict.fromkeys(("AT", "EE", "LT", "LU"), 20),
    **dict.fromkeys(("CH", "LI", "LV", "HR"), 21),
    **dict.fromkeys(("BG", "DE", "GB", "GE", "IE", "ME", "RS"), 22),
    **dict.fromkeys(("AE", "GI", "IL"), 23),
    **dict.fromkeys(("CZ", "ES", "PK", "RO", "SA", "SE", "SK", "TN"), 24),
    **dict.fromkeys(("PT",), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "CY", "DO", "GT", "HU", "LB", "PL"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
}
PUBLIC_RESOLVERS = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"}


def find_personal(parsed: Parsed) -> Iterator[Finding]:
    """`personal-data`: every likely personal value of a record, masked."""
    for turn, message in enumerate(parsed.conversation.messages):
        if turn < parsed.num_seen:
            continue
        for kind, value in personal_values(message.content):
            text = f"likely {kind}: {masked(value)}; replace it unless it is invented or public"
            yield finding_at(parsed, "personal-data", text, turn=turn)


def personal_values(text: str) -> list[tuple[str, str]]:
    """(kind, value) of everything in a text that looks personal; where two readings overlap the first one counts."""
    spans = []
    for rank, (_, may_hold, pattern, accept) in enumerate(_KINDS):
        if not may_hold(text):
            continue
        for match in pattern.finditer(text):
            value = accept(match.group(), text[max(match.start() - 12, 0) : match.start()])
            if value:
                spans.append((match.start(), rank, match.end(), value))
    found, free_from = [], 0
    for start, rank, end, value in sorted(spans):
        if start >= free_from:
            free_from = end
            found.append((_KINDS[rank][0], value))
    return found


def masked(value: str) -> str:
    """The first and the last two letters or digits stay, so that the owner of the file can find the value."""
    places = [position for position, char in enumerate(value) if char.isalnum()]
    kept = {places[0], *places[-2:]}
    return "".join("*" if char.isalnum() and place not in kept else char for place, char in enumerate(value))


def _is_email(value: str, before: str) -> str | None:
    return None if _example_email.search(value) else value


def _is_card(value: str, before: str) -> str | None:
    digits = re.sub(r"\D", "", value)
    return value if _card_scheme.fullmatch(digits) and luhn(digits) and len(set(digits)) > 2 else None


def luhn(digits: str) -> bool:
    """The check digit of card numbers: from the right, every second digit doubled, digit sums add up to 0 mod 10."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def _is_iban(value: str, before: str) -> str | None:
    """The IBAN at the start of the match, which may have run on into a following capitalised word."""
    length = IBAN_LENGTHS.get(value[:2], 0)
    compact = value.replace(" ", "")[:length]
    if not length or len(compact) < length or not iban_valid(compact):
        return None
    return " ".join(compact[start : start + 4] for start in range(0, length, 4))


def iban_valid(iban: str) -> bool:
    """ISO 13616: the first four characters moved to the end, letters as 10 to 35, the number is 1 mod 97."""
    number = "".join(str(int(char, 36)) for char in iban[4:] + iban[:4])
    return int(number) % 97 == 1


def _is_ssn(value: str, before: str) -> str | None:
    return value


def _is_public_ip(value: str, before: str) -> str | None:
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return None
    is_personal = address.is_global and value not in PUBLIC_RESOLVERS and not _numbering.search(before)
    return value if is_personal else None


def _is_phone(value: str, before: str) -> str | None:
    digits = [char for char in value if char.isdigit()]
    # Fewer than three different digits is a bit pattern or a row of zeros.
    is_number = 9 <= len(digits) <= 15 and len(set(digits)) > 2
    return value if is_number and not _fictional_phone.search(value) else None


def _has_at_sign(text: str) -> bool:
    return "@" in text


def _has_digits(text: str) -> bool:
    """A cheap first look: most texts hold no run of nine digits, whatever stands between them."""
    return bool(_digit_run.search(text))


_KINDS: tuple[tuple[str, Callable[[str], object], re.Pattern[str], Callable[[str, str], str | None]], ...] = (
    ("e-mail address", _has_at_sign, _email, _is_email),
    ("bank account number (IBAN)", _iban_start.search, _iban, _is_iban),
    ("card number", _has_digits, _card, _is_card),
    ("US social security number", _has_digits, _ssn, _is_ssn),
    ("IP address", _ipv4.search, _ipv4, _is_public_ip),
    ("phone number", _has_digits, _phone, _is_phone),
)
