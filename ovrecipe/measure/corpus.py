"""Texts that tell two tokenizers apart: what users type, and what tokenizers stumble over."""
# ruff: noqa: RUF001 - letters that look like others are what this is about

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WHITE_SPACE = (
    "", " ", "  ", "   ", " " * 17, "\n", "\n\n", "\n\n\n", "\r\n", "\t", "\t\t", " \n \n",
    "a", " a", "  a", "   a", "a ", "a  ", "a  b", "a   b", "a    b", "a\nb", "a\n\nb",
    "a\r\nb", "a\tb", "\ta", "\n a", "a \n", "a\u00a0b", "a\u2003b", "a\u3000b", "a\u2028b",
    "line one\n    line two\n\n\n\tline three  ",
)  # fmt: skip
DIGITS = (
    "0", "7", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000", "1e-3",
    "2026-11-22 15:04:05", "+49 (0)89 123", "٣٤٥", "²½Ⅷ", "v1.2.3", "a1b22c333",
)  # fmt: skip
WORDS = (
    "Hello, world! 123 é 你好",
    "The capital of France is Paris.",
    "Don't I'LL we've SHE'D 'tis o'clock",
    "a , b . c ! d ? e 's n't",
    "ALLCAPS CamelCase snake_case kebab-case",
    'wait... what?! (really) [yes] {no} <maybe> "quoted" `ticked`',
    "a<b and c>d, x >= y && z != w",
    "a" * 1500,
    "supercalifragilisticexpialidocious" * 12,
)
CODE = (
    "def f(x: int) -> int:\n    return x ** 2  # squared\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    '{"key": [1, 2.5, null], "nested": {"a": "b\\n"}}',
    "SELECT * FROM t WHERE a = 'b' -- comment",
    '<div class="x">&nbsp;</div>',
    "https://example.com/a/b?c=d&e=%20f#g",
    "C:\\Users\\x y\\file.txt",
    "user.name+tag@example.org",
    "$x^2 + \\frac{1}{2}$",
)
SCRIPTS = (
    "中文字符，测试。", "日本語のテキスト、カタカナ", "한국어 문장입니다",
    "مرحبا بالعالم، كيف الحال؟",
    "שלום עולם", "Здравствуй, мир!", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Γειά σου Κόσμε",
    "İstanbul ß ẞ ſ", "naïve café façade", "Å Å é é", "ﬁ ﬂ ﬃ ligatures",
    "𝒳𝓎 𐍈 𠜎", "ZW\u200bSP ZW\u200dJ RTL\u200fmark", "\ufeffbyte order mark",
)  # fmt: skip
EMOJI = (
    "🙂", "🙂🙂", "👍🏽", "👩‍👩‍👧‍👦", "🇫🇷🇩🇪", "❤️", "1️⃣", "text🙂text", "🧑🏿‍💻 codes",
)  # fmt: skip
CONTROLS = ("\x00", "a\x00b", "\x01\x02", "\x1b[31mred\x1b[0m", "\x7f", "\ufffd", "a\x85b")

PLAIN_TEXTS: tuple[str, ...] = (
    *WHITE_SPACE,
    *DIGITS,
    *WORDS,
    *CODE,
    *SCRIPTS,
    *(unicodedata.normalize("NFD", each) for each in SCRIPTS),
    *EMOJI,
    *CONTROLS,
)


def texts_around(added_tokens: Iterable[str]) -> list[str]:
    """Return texts with each added token alone, against words, and between spaces."""
    frames = ("{}", "a{}b", "a {} b", "{}\n", " {}", "{0}{0}")
    return [frame.format(token) for token in added_tokens for frame in frames]
