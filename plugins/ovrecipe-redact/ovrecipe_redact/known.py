"""The rules built in: e-mail addresses, phone and card numbers, and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

from ovrecipe_redact.redactor import Rule

Known: TypeAlias = Literal["email", "phone", "card", "key"]
NAMES: tuple[Known, ...] = ("email", "phone", "card", "key")
#: No rule below needs a longer match, but for e-mail addresses that nobody has.
LONGEST = 160

EMAIL = r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b"

PHONES = (
    # +49 89 1234567, +1 (555) 010-9999, +33.1.23.45.67.89
    r"\B\+\d{1,3}(?:[ .\-/]?\(\d{1,5}\))?(?:[ .\-/]?\d{1,5}){2,6}\b",
    # (555) 010-9999, 555-010-9999
    r"\B\(\d{3}\) ?\d{3}[ .\-]\d{4}\b",
    r"\b\d{3}[ .\-]\d{3}[ .\-]\d{4}\b",
    # 089 1234567, 0151/234 567 89, 020 7946 0958; with at least three digits first, unlike a date
    r"\b0[1-9]\d{1,3}[ /\-]\d{3,8}(?:[ \-]\d{2,8}){0,3}\b",
    # 01 23 45 67 89
    r"\b0[1-9](?:[ .]\d{2}){4}\b",
)

CARDS = (
    r"\b\d{13,19}\b",
    r"\b\d{4}(?:[ \-]\d{4}){3}(?:[ \-]\d{3})?\b",
    r"\b\d{4}[ \-]\d{6}[ \-]\d{4,5}\b",
)

#: (expression, tail): what comes before a secret's own characters tells it from other text.
KEYS: tuple[tuple[str, str | None], ...] = (
    (r"\bsk-[A-Za-z0-9_\-]{20}", r"[A-Za-z0-9_\-]"),  # OpenAI, Anthropic
    (r"\bgh[pousr]_[A-Za-z0-9]{36}", r"\w"),  # GitHub
    (r"\bgithub_pat_\w{22}", r"\w"),
    (r"\bglpat-[A-Za-z0-9_\-]{20}", r"[A-Za-z0-9_\-]"),  # GitLab
    (r"\bhf_[A-Za-z0-9]{30}", r"\w"),  # Hugging Face
    (r"\bxox[abeoprs]-[A-Za-z0-9\-]{10}", r"[A-Za-z0-9\-]"),  # Slack
    (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", None),  # AWS
    (r"\bAIza[A-Za-z0-9_\-]{35}", r"[A-Za-z0-9_\-]"),  # Google
    (r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16}", r"\w"),  # Stripe
    (r"\beyJ[A-Za-z0-9_\-]{10}", r"\.?[A-Za-z0-9_\-]"),  # JSON web token
)

PEM = r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_BREAK = r"(?:\s|\\n|\\r)"
_END = r"-----END [A-Z0-9 ]{1,50}-----"
#: The block goes on by letters of base64, but a new line must have sixteen of them to be one, or
#: stand before the end: prose that follows a block without end is none of it.
PEM_TAIL = (
    r"[A-Za-z0-9+/=]"
    rf"|{_BREAK}{{1,4}}=?[A-Za-z0-9+/]{{16}}"
    rf"|{_BREAK}{{1,4}}(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n]{{1,100}}"
    rf"|(?:{_BREAK}{{1,4}}=?[A-Za-z0-9+/]{{1,76}}={{0,2}})?{_BREAK}{{0,4}}{_END}"
)


def known_rules(name: str, placeholder: str) -> Iterator[Rule]:
    """Yield the rules that go by one of NAMES."""
    for expression, tail, check in _expressions(name):
        yield Rule(name, expression, placeholder, check, tail)


def _expressions(name: str) -> Iterator[tuple[str, str | None, Callable[[str], bool]]]:
    match name:
        case "email":
            yield EMAIL, None, bool
        case "phone":
            yield from ((expression, None, is_phone_number) for expression in PHONES)
        case "card":
            yield from ((expression, None, is_card_number) for expression in CARDS)
        case "key":
            yield from ((expression, tail, bool) for expression, tail in KEYS)
            yield PEM, PEM_TAIL, bool


def is_phone_number(text: str) -> bool:
    """Say whether a text has as many digits as phone numbers have (ITU-T E.164: at most 15)."""
    return 7 <= sum(map(str.isdigit, text)) <= 15


def is_card_number(text: str) -> bool:
    """Say whether a text's digits end with the right check digit (ISO/IEC 7812-1, Luhn)."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
