"""What is found without being told, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovrecipe_redact.known import is_card_number
from ovrecipe_redact.provider import Redact

from ovrecipe.testing import filtered

BODY = "MIICXAIBAAKBgQCqGKukO1De7zhZj6+H0qtjTkVxwTCpvKe4eCZ0FPqri0cb2JZfXJ/DgYSF6vUp"
PEM = (
    f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n{BODY[:30]}==\n-----END RSA PRIVATE KEY-----"
)
PGP = (
    f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{BODY}\n=aB3+\n"
    "-----END PGP PRIVATE KEY BLOCK-----"
)
ENCRYPTED = PEM.replace(
    "KEY-----\nMII", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B\n\nMII"
)


def redacted(text: str, **options: object) -> str:
    return filtered(Redact, options, [text])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "ada@example.org"),
        ("email", "ada.lovelace+news@mail.example.co.uk"),
        ("email", "a_b%c@x-y.museum"),
        ("email", "jörg@münchen.example"),
        ("phone", "+49 89 1234567"),
        ("phone", "+49 (89) 123 456"),
        ("phone", "+1-555-010-9999"),
        ("phone", "+33.1.23.45.67.89"),
        ("phone", "+14155550109"),
        ("phone", "(555) 010-9999"),
        ("phone", "555-010-9999"),
        ("phone", "089 1234567"),
        ("phone", "0151/23456789"),
        ("phone", "020 7946 0958"),
        ("phone", "01 23 45 67 89"),
        ("card", "4111 1111 1111 1111"),
        ("card", "4111-1111-1111-1111"),
        ("card", "4111111111111111"),
        ("card", "3782 822463 10005"),
        ("card", "378282246310005"),
        ("key", "sk-" + "aB3_" * 12),
        ("key", "sk-ant-api03-" + "aB3_" * 20),
        ("key", "ghp_" + "aB3" * 12),
        ("key", "github_pat_" + "aB3_" * 20),
        ("key", "glpat-" + "aB3-" * 5),
        ("key", "hf_" + "aB3" * 12),
        ("key", "xoxb-123456789012-abcdefABCDEF"),
        ("key", "AKIAIOSFODNN7EXAMPLE"),
        ("key", "AIza" + "aB3_-" * 7),
        ("key", "sk_live_" + "aB3" * 8),
        ("key", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-_"),
        ("key", PEM),
        ("key", PEM.replace("\n", "\\n")),
        ("key", PEM.replace("\n", "\r\n")),
        ("key", ENCRYPTED),
        ("key", PEM.replace("RSA ", "")),
        ("key", f"-----BEGIN PRIVATE KEY-----\n{BODY * 40}\n-----END PRIVATE KEY-----"),
        ("key", PGP),
    ],
)
def test_what_is_private_is_replaced(kind, text) -> None:
    """Whole and once, whatever stands around it."""
    assert redacted(text) == f"[{kind}]"
    assert redacted(f"It is ({text}).") == f"It is ([{kind}])."
    assert redacted(f"“{text}”, {text}\n") == f"“[{kind}]”, [{kind}]\n"
    assert redacted(f"It is {text}", known=[kind]) == f"It is [{kind}]"


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "a@b, @media, user@localhost, 5 @ 3, x@.org",
        "2026-11-22 15:04:05, 22.11.2026, 01-02-2026, 3.14159, 1,000,000, 10:30",
        "1 + 2 = 3; 12 345 678; 100-200-300; 4 + 4911",
        "4111 1111 1111 1112, 0000 0000 0000 0000, 12345678901234567890123",
        "sk-learn, sk-, task-oriented, hf_hub, eyJ, AKIA, ghp_, xoxb-",
        "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----",
        "---------- BEGIN ----------",
        "def f(x: int) -> int:\n    return x ** 2  # squared\n",
        "@pytest.fixture\ndef token(): return tokenizer.encode('a b')",
        "v1.2.3, 192.168.0.1, port 8080, 555-0100, ISBN 978-3-16-148410",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text) -> None:
    """A filter that eats dates and code is switched off by its users."""
    assert redacted(text) == text


def test_prose_behind_an_unfinished_key_is_shown() -> None:
    """An answer that explains the format must not vanish."""
    text = "It begins with -----BEGIN PRIVATE KEY----- and then base64 follows."
    assert redacted(text) == "It begins with [key] and then base64 follows."


def test_a_key_that_is_cut_off_is_not_shown() -> None:
    """max_new_tokens ends answers anywhere."""
    for end in range(40, len(PEM), 7):
        assert redacted(PEM[:end]).startswith("[key]")
        assert BODY[:16] not in redacted(PEM[:end])


@given(st.integers(10**11, 10**18 - 1))
def test_exactly_one_check_digit_of_ten_is_right(number) -> None:
    """As ISO/IEC 7812 defines it."""
    assert sum(is_card_number(f"{number}{digit}") for digit in range(10)) == 1


def test_only_what_is_named_is_replaced() -> None:
    """`known` is a choice."""
    assert redacted("a@b.org 4111111111111111", known=["card"]) == "a@b.org [card]"


def test_placeholders_are_the_users() -> None:
    """One for all, or one by name."""
    options = {"placeholder": "<{name}>", "placeholders": {"card": "****"}}
    assert redacted("a@b.org 4111111111111111", **options) == "<email> ****"


def test_patterns_of_the_user_come_first() -> None:
    """Of equally long matches at one place."""
    own = {"customer": r"\w+@example\.org"}
    assert redacted("x@example.org, x@example.com", patterns=own) == "[customer], [email]"
