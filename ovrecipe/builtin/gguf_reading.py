"""A second reading of a GGUF vocabulary, by llama.cpp's rules, against which a tokenizer is tried.

It is slow and short on purpose, and shares with the tokenizer nothing but the vocabulary: who
reads it can see that it is right. Where llama.cpp leaves out what a model's own tokenizer does
(composing characters, giving up on words of a hundred letters), the model's own is followed.

Source: llama.cpp, src/llama-vocab.cpp.
"""

# ruff: noqa: RUF001 - letters that look like others are what this is about

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from ovrecipe.builtin.gguf_tokenizer import LONGEST_WORD
from ovrecipe.builtin.gguf_vocabulary import NORMAL, SPACE, UNUSED, USER_DEFINED, Vocabulary
from ovrecipe.errors import GateError

#: What a score lower than all is lowered by for a character without a token.
UNKNOWN_PENALTY = 10.0
#: How many runs of neighbouring tokens are tried, and how long one is.
RUNS, RUN = 400, 6
#: Places where pre-tokenizers differ from each other.
TEXTS = (
    "", " ", "  ", "a", " a", "  a", "a ", "a  b", "\n", "\n\n a", " \n \n\tb", "\r\n", "a\u00a0b",
    "1", "12", "123", "1234567", "3.14 x10", "v1.2", "٣٤٥", "²½",
    "Don't I'LL we'VE 'tis", "x=y; a<b && c>=d!",
    '(really) "quoted" `ticked`...', "CamelCase ABCdef", "naïve cafe\u0301 Größe",
    "你好，世界。 日本語テキスト 한국어", "Привет, мир", "नमस्ते", "🙂👍🏽", "a\u200bb",
    "word/\n/word",
    "the quick brown fox jumps over the lazy dog" * 3, "z" * 200,
)  # fmt: skip


def check_tokenizer(name: str, vocabulary: Vocabulary, tokenizer: Any) -> None:
    """Let a tokenizer of a vocabulary pass, or refuse it.

    Raises:
        GateError: a text becomes other ids than llama.cpp would give it.
    """
    reading = Reading(vocabulary)
    for text in (*TEXTS, *_runs(vocabulary)):
        expected, got = reading.ids(text), tokenizer.encode(text).ids
        if expected != got:
            raise GateError(
                f"{name}: the tokenizer that was made of it reads {text!r} as {got}, and by "
                f"llama.cpp's rules it is {expected}",
                remedy="give the model's hub id or a checkpoint with its original tokenizer files",
            )


def _runs(vocabulary: Vocabulary) -> Iterator[str]:
    """Yield the texts of neighbouring tokens, from all of the vocabulary."""
    step = max(1, len(vocabulary.tokens) // RUNS)
    for start in range(0, len(vocabulary.tokens), step):
        numbers = range(start, min(start + RUN, len(vocabulary.tokens)))
        yield "".join(_text_of(vocabulary, number) for number in numbers)


def _text_of(vocabulary: Vocabulary, number: int) -> str:
    text = vocabulary.tokens[number]
    if number in vocabulary.added:
        return text
    if vocabulary.kind == "gpt2":
        letters = _letter_bytes()
        return bytes(letters.get(letter, 0) for letter in text).decode("utf-8", "replace")
    return text.replace(SPACE, " ")


@cache
def _byte_letters() -> dict[int, str]:
    """Return GPT-2's letter for each byte: printable ones stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


@cache
def _letter_bytes() -> dict[str, int]:
    """Return the byte for each of GPT-2's letters."""
    return {letter: byte for byte, letter in _byte_letters().items()}


class Reading:
    """Reads texts with a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
        self._letters = _byte_letters()
        readers = {
            "gpt2": self._byte_level,
            "llama": self._sentencepiece,
            "t5": self._unigram,
            "bert": self._wordpiece,
        }
        self._read: Callable[[str], list[int]] = readers[vocabulary.kind]

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, with what the file puts around it."""
        found = [*self.vocabulary.before]
        for part in self._fragments(text):
            found += [part] if isinstance(part, int) else self._read(part)
        return found + self.vocabulary.after

    def _fragments(self, text: str) -> list[str | int]:
        """Cut out the added tokens, the longest first."""
        tokens = self.vocabulary.tokens
        parts: list[str | int] = [text]
        for number in sorted(self.vocabulary.added, key=lambda n: -len(tokens[n].encode())):
            parts = [piece for part in parts for piece in self._cut_out(part, number)]
        return [part for part in parts if part != ""]

    def _cut_out(self, part: str | int, number: int) -> Iterator[str | int]:
        if isinstance(part, int):
            yield part
            return
        first, *others = part.split(self.vocabulary.tokens[number])
        yield first
        for other in others:
            yield number
            yield other.lstrip() if number in self.vocabulary.stripping else other

    def _byte_level(self, text: str) -> list[int]:
        cut, ids = self.vocabulary.cut, self.vocabulary.ids
        if cut.nfc:
            text = unicodedata.normalize("NFC", text)
        found = []
        for word in _words(text, (*((r"\p{N}",) if cut.digits else ()), *cut.patterns)):
            letters = [self._letters[byte] for byte in word.encode()]
            if cut.ignore_merges and "".join(letters) in ids:
                found.append(ids["".join(letters)])
                continue
            merged = _merged(letters, lambda left, right: self._ranks.get((left, right)))
            found += [ids[symbol] for symbol in merged if symbol in ids]
        return found

    def _sentencepiece(self, text: str) -> list[int]:
        ids, scores = self.vocabulary.ids, self.vocabulary.scores

        def rank(left: str, right: str) -> float | None:
            id_ = ids.get(left + right)
            return None if id_ is None else -scores[id_]

        prefix = " " if self.vocabulary.has_space_prefix else ""
        found: list[int] = []
        for symbol in _merged(list((prefix + text).replace(" ", SPACE)), rank):
            if symbol in ids:
                found.append(ids[symbol])
                continue
            names = [f"<0x{byte:02X}>" for byte in symbol.encode()]
            if all(name in ids for name in names):
                found += [ids[name] for name in names]
            elif found[-1:] != [self.vocabulary.unknown or 0]:
                found.append(self.vocabulary.unknown or 0)
        return found

    def _unigram(self, text: str) -> list[int]:
        """Return the tokens whose scores add up to the most (Viterbi)."""
        vocabulary, text = self.vocabulary, self._spaced(text)
        types, scores = vocabulary.types, vocabulary.scores
        usable = {
            t: n for t, n in vocabulary.ids.items() if types[n] in (NORMAL, USER_DEFINED, UNUSED)
        }
        lowest = min(score for score, kind in zip(scores, types, strict=True) if kind == NORMAL)
        longest = max(map(len, usable))
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(text) + 1):
            ways = []
            for start in range(max(0, end - longest), end):
                id_, (before, path) = usable.get(text[start:end]), best[start]
                if id_ is not None:
                    score = 0.0 if types[id_] == USER_DEFINED else scores[id_]
                    ways.append((before + score, [*path, id_]))
                elif start == end - 1:
                    unknown = vocabulary.unknown or 0
                    more = [] if path[-1:] == [unknown] else [unknown]
                    ways.append((before + lowest - UNKNOWN_PENALTY, [*path, *more]))
            best.append(max(ways, key=lambda way: way[0]))
        return best[-1][1]

    def _spaced(self, text: str) -> str:
        """Return a text with marked spaces, one before it and none twice as the file says."""
        if self.vocabulary.charsmap:
            from tokenizers.normalizers import Precompiled

            text = Precompiled(self.vocabulary.charsmap).normalize_str(text)
        if self.vocabulary.merges_spaces:
            text = " ".join(word for word in text.split(" ") if word)
        prefix = " " if self.vocabulary.has_space_prefix and text else ""
        return (prefix + text).replace(" ", SPACE)

    def _wordpiece(self, text: str) -> list[int]:
        """Return the longest tokens that words begin with, again and again."""
        found = []
        for word in self._bert_words(text):
            rest, pieces = SPACE + word, []
            while rest and len(word) <= LONGEST_WORD:
                fits = (end for end in range(len(rest), 0, -1) if rest[:end] in self.vocabulary.ids)
                end = next(fits, 0)
                if not end:
                    break
                pieces.append(self.vocabulary.ids[rest[:end]])
                rest = rest[end:]
            found += pieces if not rest else [self.vocabulary.unknown or 0]
        return found

    def _bert_words(self, text: str) -> list[str]:
        if self.vocabulary.strip_accents:
            text = unicodedata.normalize("NFD", text)
        lost = {"Cc", "Cf", "Cn", "Co", "Cs", *(("Mn",) if self.vocabulary.strip_accents else ())}
        spaced = ""
        for letter in text:
            category = unicodedata.category(letter)
            if letter.isspace():
                spaced += " "
            elif letter == "\ufffd" or category in lost:
                continue
            elif category[0] == "P" or _is_ascii_symbol(letter) or _is_chinese(letter):
                spaced += f" {letter} "
            else:
                spaced += letter
        return (spaced.lower() if self.vocabulary.lowercase else spaced).split()


def _merged(symbols: list[str], rank: Callable[[str, str], float | None]) -> list[str]:
    """Join the neighbours of the lowest rank, the leftmost first, until none can be joined."""
    while True:
        ranks = [
            (rank(left, right), place) for place, (left, right) in enumerate(pairwise(symbols))
        ]
        known = [(value, place) for value, place in ranks if value is not None]
        if not known:
            return symbols
        _, place = min(known)
        symbols = [*symbols[:place], symbols[place] + symbols[place + 1], *symbols[place + 2 :]]


def _words(text: str, patterns: Sequence[str]) -> list[str]:
    """Cut a text by each pattern: what it finds is a word, and so is what lies between."""
    words = [text]
    for pattern in patterns:
        words = [piece for word in words for piece in _pieces(word, pattern) if piece]
    return words


def _pieces(word: str, pattern: str) -> Iterator[str]:
    import regex

    done = 0
    for match in regex.finditer(pattern, word):
        yield word[done : match.start()]
        yield match[0]
        done = match.end()
    yield word[done:]


def _is_ascii_symbol(letter: str) -> bool:
    return letter < "\x7f" and unicodedata.category(letter)[0] == "S"


def _is_chinese(letter: str) -> bool:
    """Say whether a character is a word by itself; these are BERT's own ranges."""
    ranges = (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
    )  # fmt: skip
    return any(start <= ord(letter) <= end for start, end in ranges)
