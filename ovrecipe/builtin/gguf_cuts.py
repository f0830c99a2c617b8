"""How text is cut before byte-level BPE, by the names that GGUF files have for it.

A name in `tokenizer.ggml.pre` stands for the pre-tokenizer of the model that was converted first
with it. Each is written here as that model's tokenizer.json has it; llama.cpp's own expressions
were compared with them (tests/sources/test_gguf_tokenizer.py).
"""

# ruff: noqa: RUF001 - letters that look like others are what some patterns are about

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: GPT-2's, which `tokenizers` has built in.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_WORDS = rf"{ENDINGS}|{WORD}|\p{{N}}{{1,3}}|{MARKS}|{SPACES}"
QWEN2_WORDS = rf"{ENDINGS}|{WORD}|\p{{N}}|{MARKS}|{SPACES}"
#: Words of small letters behind large ones, as o200k and Tekken have them.
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
CASED = (rf"{BEFORE}{UPPER}*{LOWER}+", rf"{BEFORE}{UPPER}+{LOWER}*")
CASED_END = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES
HAN_KANA = "[一-龥぀-ゟ゠-ヿ]+"
DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES
)
QWEN35_WORDS = (
    rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{SPACES}"
)
EXAONE_MOE_WORDS = (
    rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
SPARK_WORDS = DEEPSEEK_WORDS.replace(r"[\r\n]*|\s*[\r\n]+|", r"|[\r\n]|")
YOUTU_SCRIPTS = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + HAN_KANA
YOUTU_WORDS = rf"{CASED[0]}{ENDINGS}?|{CASED[1]}{ENDINGS}?|\p{{N}}|{CASED_END}"
#: The letters of two cases that DeepSeek LLM knows: not those of Georgian and of newer scripts.
DEEPSEEK_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
    "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
DEEPSEEK_MARKS = "!-/:-~！-／：-～‘-‟\u3000-。"
BLOOM_WORDS = r" ?[^(\s|.,!?…。，、।۔،)]+"


@dataclass(frozen=True)
class Cut:
    """Patterns, one after the other, each of which cuts what the ones before left.

    - `digits`: each is a word of its own, before all patterns.
    - `nfc`: characters are composed first.
    - `ignore_merges`: a word that is a token is taken whole, however it would be merged.
    - `add_bos`: what holds when a file does not say `add_bos_token`.
    """

    patterns: tuple[str, ...] = (GPT2,)
    digits: bool = False
    nfc: bool = False
    ignore_merges: bool = False
    add_bos: bool = False


LLAMA3 = Cut((LLAMA3_WORDS,), ignore_merges=True, add_bos=True)
QWEN2 = Cut((QWEN2_WORDS,), nfc=True)
DIGITS = Cut(digits=True)
TEKKEN_WORDS = rf"{CASED[0]}|{CASED[1]}|\p{{N}}|{CASED_END}"
GPT4O = Cut((rf"{CASED[0]}{ENDINGS}?|{CASED[1]}{ENDINGS}?|\p{{N}}{{1,3}}|{CASED_END}",))
DEEPSEEK_V3 = Cut((r"\p{N}{1,3}", HAN_KANA, DEEPSEEK_WORDS))
BAILING = Cut((rf"'(?i:[sdmt]|ll|ve|re)|{WORD}|\p{{N}}|{MARKS}|\s*[\r\n]|\s+(?!\S)|\s+",))

_GROUPS: Mapping[str, Cut] = {
    "gpt-2 phi-2 gigachat a.x-4.0 mellum jais trillion granite-docling exaone4": Cut(),
    "mpt olmo": Cut(nfc=True),
    "smollm starcoder refact codeshell exaone minerva-7b mellum2": DIGITS,
    "command-r": replace(DIGITS, nfc=True),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2": LLAMA3,
    "dbrx smaug-bpe glm4 chatglm-bpe": Cut((LLAMA3_WORDS,)),
    "qwen2": QWEN2,
    "stablelm2 hunyuan solar-open grok-2 deepseek-r1-qwen kormo megrez f2llmv2": replace(
        QWEN2, nfc=False
    ),
    "laguna": Cut((r"[^\n]+|[\n]+", QWEN2_WORDS)),
    "ufakzeka": Cut((rf"{WORD}|\p{{N}}|{MARKS}|{SPACES}",)),
    "qwen35": Cut((QWEN35_WORDS,), nfc=True),
    "tekken": Cut((TEKKEN_WORDS,), ignore_merges=True, add_bos=True),
    "gpt-4o llama4 kanana2 minimax-m2 talkie": GPT4O,
    "tiny_aya cohere2moe": Cut((r"\d{1,3}(?=(?:\d{3})*\b)", *GPT4O.patterns)),
    "youtu": Cut((YOUTU_SCRIPTS, YOUTU_WORDS), ignore_merges=True),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": DEEPSEEK_V3,
    "spark2_5": Cut((r"\p{N}{1,3}", HAN_KANA, SPARK_WORDS, r"\p{N}")),
    "deepseek-llm": Cut(
        ("[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+", rf"\s?[{DEEPSEEK_MARKS}]+", r"\s+$",
         "[一-龥ࠀ-一가-퟿]+", r"\p{N}+"),
    ),
    "deepseek-coder": Cut(
        ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    ),
    "bailingmoe bailingmoe2 llada-moe": BAILING,
    "seed-coder": Cut(
        (rf"{ENDINGS}|{WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{SPACES}",),
    ),
    "minicpm5": Cut((r"\p{N}{1,3}", rf"{ENDINGS}|{WORD}|\p{{N}}+|{MARKS}|{SPACES}"),
                    ignore_merges=True),
    "exaone-moe": Cut((EXAONE_MOE_WORDS,)),
    "falcon": Cut((r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]")),
    "bloom poro-chat gpt3-finnish": Cut((BLOOM_WORDS,)),
    "viking": Cut((BLOOM_WORDS, r"\p{N}")),
    "jais-2": Cut(
        (
            rf"{ENDINGS}|{WORD}|\p{{N}}{{1,3}}|{MARKS}|\s*[\r\n]+|"
            + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
            + r"|\s{1,2}(?!\S)|\s{1}",
        ),
    ),
    "default": Cut((r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}  # fmt: skip
#: Every name that is known, with its way to cut.
CUTS: Mapping[str, Cut] = {name: cut for names, cut in _GROUPS.items() for name in names.split()}
