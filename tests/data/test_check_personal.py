"""Likely personal data: what is found, how it is masked, and the look-alikes that are left alone."""

from __future__ import annotations

import pytest

from tutelage.data import check_file
from tutelage.data.personal import iban_valid, luhn, masked, personal_values


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Write to anna.berg@postbox.se today.", "e-mail address", "anna.berg@postbox.se"),
        ("Mail me (m+x@sub.postbox.co.uk).", "e-mail address", "m+x@sub.postbox.co.uk"),
        ("Call +46 8 123 456 78 now", "phone number", "+46 8 123 456 78"),
        ("Call (212) 867-5309.", "phone number", "(212) 867-5309"),
        ("Tel. 212.867.5309", "phone number", "212.867.5309"),
        ("Ring 020 7123 4567, please", "phone number", "020 7123 4567"),
        ("Tél. 01 42 68 53 00", "phone number", "01 42 68 53 00"),
        ("Card 4539 1488 0343 6467, thanks", "card number", "4539 1488 0343 6467"),
        ("Card 4539148803436467.", "card number", "4539148803436467"),
        ("Amex 3782 822463 10005", "card number", "3782 822463 10005"),
        ("IBAN GB82 WEST 1234 5698 7654 32", "bank account number (IBAN)", "GB82 WEST 1234 5698 7654 32"),
        ("to DE89370400440532013000", "bank account number (IBAN)", "DE89 3704 0044 0532 0130 00"),
        ("DE89 3704 0044 0532 0130 00 ALSO", "bank account number (IBAN)", "DE89 3704 0044 0532 0130 00"),
        ("SSN 219-09-9999", "US social security number", "219-09-9999"),
        ("from 93.184.216.34:8080", "IP address", "93.184.216.34"),
    ],
)
def test_personal_data_is_found(text: str, kind: str, value: str) -> None:
    assert personal_values(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "Write to anna@example.com, bob@mail.example.org or eve@shop.test.",
        "Use icon@2x.png and git@host.net:me/repo.",
        "Call 555-0123 or (212) 555-0147 or 020 7946 0123.",
        "4539 1488 0343 6468 fails its check digit; 4111 1111 1111 1111 is for testing.",
        "In 2010-2020 it rose from 1 000 000 000 to 2 000 000 000.",
        "Pi is 3.14159265358979 and e is 2.718281828459045.",
        "0101 0110 1010 0001 is a bit pattern; 0000 0000 0000 0000 too.",
        "GB82 WEST 1234 5698 7654 33 fails its check.",
        "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567 and 123-45-0000 are never issued.",
        "Use 192.168.1.1, 10.0.0.1, 127.0.0.1, 203.0.113.7, 8.8.8.8 or 1.1.1.1.",
        "Install version 5.2.1.3 as in section 4.1.2.7; v1.2.3.4 is old.",
        "999.1.1.1 is no address.",
        "ISBN 978-3-16-148410-0, on 2024-05-17 at 12:30:45.",
        "The part number is ABC-123-456-7890-X.",
        "12345678901234567890 is a long number.",
        "Add 250 g flour, 125 ml milk and 2-3 eggs at 180-200 °C.",
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert personal_values(text) == []


def test_the_value_is_masked_in_the_finding() -> None:
    report = check_file([{"prompt": "My card is 4539 1488 0343 6467.", "completion": "Noted."}], sealed=[])
    (finding,) = report.findings
    assert (finding.severity, finding.code, finding.field) == ("warning", "personal-data", "prompt")
    assert finding.message == ("likely card number: 4*** **** **** **67; replace it unless it is invented or public")
    assert masked("anna.berg@postbox.se") == "a***.****@*******.se"


def test_several_values_are_found_in_order() -> None:
    values = personal_values("anna@postbox.se, +46 8 123 456 78, ben@postbox.se")
    assert [value for _, value in values] == ["anna@postbox.se", "+46 8 123 456 78", "ben@postbox.se"]


def test_luhn_by_hand() -> None:
    # From the right, every second digit doubled: 3 + 2 + 7 + (16: 7) + 9 + 6 + 7 + 4 + 9 + (18: 9) + 7 = 70.
    assert luhn("79927398713")
    assert not luhn("79927398710")


def test_iban_by_hand() -> None:
    # GB82WEST12345698765432 becomes 3214282912345698765432161182, which is 1 modulo 97.
    assert 3214282912345698765432161182 % 97 == 1
    assert iban_valid("GB82WEST12345698765432")
    assert not iban_valid("GB82WEST12345698765423")
