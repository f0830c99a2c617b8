"""The texts that tokenizers are tried with, and which of them must come back unchanged.

Byte-level and byte-fallback vocabularies can spell every text, so whatever the right tokenizer
is, decoding its ids gives the text back. A tokenizer that was put together wrongly (a byte-level
vocabulary behind a SentencePiece decoder, for one) does not, even though its converted twin
agrees with it about every id.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# ruff: noqa: RUF001 - letters that look like others are what this is about

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

DECOMPOSED = tuple(unicodedata.normalize("NFD", text) for text in SCRIPTS)
PLAIN_TEXTS = WHITE_SPACE + DIGITS + WORDS + CODE + SCRIPTS + DECOMPOSED + EMOJI + CONTROLS


def texts_around(added_tokens: Iterable[str]) -> list[str]:
    """Return texts with each added token alone, against words, and between spaces."""
    frames = ("{}", "a{}b", "a {} b", "{}\n", " {}", "{0}{0}")
    return [frame.format(token) for token in added_tokens for frame in frames]


#: Normalizers that lose nothing, or, for NFC, what can be told beforehand.
KEEPING = {"NFC", "Prepend", "Replace"}
SPACE_AND_ASCII = bytes(range(0x20, 0x7F)).decode()


def lossless_texts(settings: dict[str, Any], texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (text, what it must decode to) for the texts that this tokenizer cannot lose.

    `settings` is the content of tokenizer.json. Nothing is yielded for vocabularies that cannot
    spell everything, and for normalizers that change text on purpose.
    """
    spells = _spells(settings)
    kinds = {part["type"] for part in _parts(settings.get("normalizer"), "normalizers")}
    if spells is None or not kinds <= KEEPING:
        return
    for text in texts:
        expected = unicodedata.normalize("NFC", text) if "NFC" in kinds else text
        if "▁" not in text and spells(expected):
            yield text, expected


def same_text(settings: dict[str, Any], expected: str, got: str) -> bool:
    """Compare, with leading spaces aside where a space is put in front and taken off again."""
    cuts = _parts(settings.get("pre_tokenizer"), "pretokenizers")
    normalizers = _parts(settings.get("normalizer"), "normalizers")
    if any(
        part["type"] in ("Metaspace", "Prepend") or part.get("add_prefix_space")
        for part in (*cuts, *normalizers)
    ):
        return expected.lstrip(" ") == got.lstrip(" ")
    return expected == got


def _spells(settings: dict[str, Any]) -> Callable[[str], bool] | None:
    """Return which texts the vocabulary can spell byte by byte, or None when it is not made so."""
    model = settings.get("model") or {}
    if model.get("type") != "BPE":
        return None
    vocabulary = model.get("vocab") or {}
    if model.get("byte_fallback") and all(f"<0x{n:02X}>" in vocabulary for n in range(256)):
        return lambda text: True  # noqa: ARG005
    from tokenizers.pre_tokenizers import ByteLevel

    letters = ByteLevel(add_prefix_space=False, use_regex=False)

    def spells(text: str) -> bool:
        pieces = letters.pre_tokenize_str(text)
        return all(letter in vocabulary for piece, _ in pieces for letter in piece)

    return spells if spells(SPACE_AND_ASCII) else None


def _parts(part: dict[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
    """Yield a component of tokenizer.json, or those that a sequence is made of."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for below in part[key]:
        yield from _parts(below, key)
