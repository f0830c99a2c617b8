"""`ovrecipe serve` under mixed load for a while: does its memory grow, does a request fail?

    python benchmarks/soak.py smollm2-135m:int4 --minutes 30

So many clients on loopback ask one after the other, each time something drawn: a stream, a whole
answer, a stream that is left half-way, an answer in the form of a schema, one with a function, a
text that is gone on with, and what has to be refused with 400. The resident memory of the server
and of its engine is read every two seconds. Shown is its median in each tenth of the time, how it
grew in the second half, and how each kind of request ended. The exit code is 1 where a request did
not end as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any

import psutil
from serve import Server, prompts, stream

TOKENS = 48
READ_SECONDS = 2.0
PARTS = 10
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}
FUNCTION = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}},
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
#: What is asked whole: the path, what its body has besides, and the status that it should get.
WHOLE: Mapping[str, tuple[str, Mapping[str, Any], int]] = {
    "whole": ("chat/completions", {}, 200),
    "schema": ("chat/completions", {"response_format": FORMAT}, 200),
    "function": (
        "chat/completions",
        {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
        200,
    ),
    "completion": ("completions", {}, 200),
    "refused": ("chat/completions", {"logit_bias": {"5": 1}}, 400),
}
KINDS = ("stream", "left", *WHOLE)


def main() -> None:
    """Ask, watch and print."""
    parser = argparse.ArgumentParser(description="A server under mixed load.")
    parser.add_argument("target", nargs="?", default="smollm2-135m:int4")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    options = parser.parse_args()
    with Server(options.target) as server:
        ended, sizes = asyncio.run(soaked(server, options))
    facts: dict[str, Any] = {"minutes": options.minutes, "clients": options.clients}
    part = max(len(sizes) // PARTS, 1)
    for name in ("server", "engine"):
        read = [size[name] for size in sizes]
        over_time = [median(read[at : at + part]) for at in range(0, PARTS * part, part)]
        # An engine's cache fills first, for it keeps what prompts begin with.
        growth = over_time[-1] / over_time[PARTS // 2] - 1
        facts[f"{name}_mb"] = [round(size / 1e6, 1) for size in over_time]
        facts[f"{name}_growth_in_the_second_half"] = f"{100 * growth:+.1f} %"
    facts["ended"] = {" ".join(how): count for how, count in sorted(ended.items())}
    print(json.dumps(facts, indent=2))
    if any(how[-1] != "well" for how in ended):
        sys.exit(1)


async def soaked(
    server: Server, options: argparse.Namespace
) -> tuple[Counter[tuple[str, ...]], list[dict[str, int]]]:
    """Return how the requests ended, by kind, and the memory from time to time, in bytes."""
    ended: Counter[tuple[str, ...]] = Counter()
    sizes: list[dict[str, int]] = []
    until = time.monotonic() + 60 * options.minutes
    process = psutil.Process(server.pid)

    async def client(number: int) -> None:
        drawn = random.Random(number)
        while time.monotonic() < until:
            kind = drawn.choice(KINDS)
            try:
                problem = await asked(server, kind, drawn)
            except (OSError, ValueError, IndexError) as error:
                problem = f"{type(error).__name__}: {error}"
            ended[(kind, problem or "well")] += 1

    async def watch() -> None:
        while time.monotonic() < until:
            [engine] = process.children()
            memory = {"server": process.memory_info().rss, "engine": engine.memory_info().rss}
            sizes.append(memory)
            await asyncio.sleep(READ_SECONDS)

    await asyncio.gather(watch(), *(client(number) for number in range(options.clients)))
    return ended, sizes


async def asked(server: Server, kind: str, drawn: random.Random) -> str | None:
    """Ask once, and return what is wrong with how it ended; None if nothing is."""
    [text] = prompts(1, drawn.randrange(100_000))
    if kind == "left":
        await stream(server, text, TOKENS, leave=TOKENS // 2)
        return None
    if kind == "stream":
        tokens, _ = await stream(server, text, TOKENS)
        return None if tokens == TOKENS else f"{tokens} tokens"
    path, more, wanted = WHOLE[kind]
    given = {"prompt": text} if path == "completions" else {"messages": [user(text)]}
    body = {"model": server.target, "max_tokens": TOKENS, "seed": drawn.randrange(99), **given}
    status, answer = await posted(server, path, {**body, **more})
    if status != wanted:
        return f"status {status}"
    if kind == "schema" and answer["choices"][0]["finish_reason"] == "stop":
        json.loads(answer["choices"][0]["message"]["content"])
    return None


def user(text: str) -> dict[str, str]:
    """Return a message."""
    return {"role": "user", "content": text}


async def posted(server: Server, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    data = json.dumps(body).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


if __name__ == "__main__":
    main()
