"""The built-in frontends: how an answer reaches a user or a program."""

import json
from typing import TextIO

from ovrecipe.hooks.roles import Console, ShownGeneration
from ovrecipe.types import GenerationResult


class ConsoleFrontend:
    """Text as it comes, closed by a new line, as every text that other tools read."""

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Write each segment at once; with `stats`, one line about it on the other stream."""
        segment = ""
        for segment in generation:
            _write(console.out, segment)
        if not segment.endswith("\n"):
            _write(console.out, "\n")
        result = generation.result
        if result.finish_reason == "length":
            cut = f"[cut after {result.generated_tokens} tokens; --max-new-tokens N for more]\n"
            _write(console.err, cut)
        _write_stats(generation.result, console)


class QuietFrontend:
    """Only the whole text, when it is whole."""

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Write nothing at all when the generation fails half-way."""
        text = "".join(generation)
        _write(console.out, text if text.endswith("\n") else text + "\n")
        _write_stats(generation.result, console)


class JsonFrontend:
    """The whole result as one JSON document, which is what `--json` means."""

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Write nothing at all when the generation fails half-way."""
        for _ in generation:
            pass
        _write(console.out, json.dumps(generation.result.as_json(), indent=2) + "\n")
        _write_stats(generation.result, console)


class JsonlFrontend:
    """One JSON object a line: `{"event": "segment", "text"}`, then `{"event": "result", ...}`.

    A stream without the result was cut by an error, which is on the other stream. All of it is
    ASCII, so that no terminal's or pipe's encoding can spoil it.
    """

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Write and flush each line, for readers that wait for it."""
        for segment in generation:
            _write(console.out, json.dumps({"event": "segment", "text": segment}) + "\n")
        result = {"event": "result", **generation.result.as_json()}
        _write(console.out, json.dumps(result) + "\n")
        _write_stats(generation.result, console)


def _write_stats(result: GenerationResult, console: Console) -> None:
    """Write what people want to know of a result as one line, if they asked for it."""
    if not console.stats:
        return
    tokens, metrics = result.generated_tokens, result.metrics
    parts = [f"{result.finish_reason} after {'?' if tokens is None else tokens} tokens"]
    if metrics is not None:
        parts.append(f"first token {metrics.ttft_ms:.0f} ms")
        if metrics.tpot_ms is not None:
            parts.append(f"then {metrics.tpot_ms:.1f} ms per token")
            parts.append(f"{metrics.throughput:.1f} tokens/s")
    parts.append(f"prompt {result.prompt_tokens} tokens")
    if result.seed is not None:
        parts.append(f"seed {result.seed}")
    _write(console.err, f"[{', '.join(parts)}, on {result.device}]\n")


def _write(stream: TextIO, text: str) -> None:
    """Write and flush; what the stream's encoding cannot say becomes a question mark."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
