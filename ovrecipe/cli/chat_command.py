"""`ovrecipe chat`: a conversation on a terminal, or through a pipe."""

from __future__ import annotations

import sys
from contextlib import closing

import typer  # noqa: TC002 - typer reads the annotations

from ovrecipe.cli import generation_options as options
from ovrecipe.cli.run_command import frontend_of, opened
from ovrecipe.cli.session import session_of


def command(
    ctx: typer.Context,
    target: options.Target,
    *,
    device: options.DeviceName = "CPU",
    system: options.System = None,
    greedy: options.Greedy = False,
    seed: options.Seed = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    more: options.More = None,
    frontend: options.FrontendName = "console",
    stats: options.Stats = False,
) -> None:
    """Talk with a model that remembers what was said.

    Ctrl-C stops an answer, Ctrl-D leaves; /help lists what else can be typed. From a pipe each
    line is one instruction.

    Example: ovrecipe chat smollm2-135m:int4
    """
    from ovrecipe.cli.chat_loop import ChatLoop, lines_of
    from ovrecipe.hooks.roles import ChatFrontend, Console

    session = session_of(ctx)
    generation = options.generation_of(
        more,
        greedy=greedy,
        rng_seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
    )
    shown_by = frontend_of(session, target, frontend)
    console = Console(out=sys.stdout, err=sys.stderr, stats=stats)
    runner = opened(session, target, device=device, warm_up=True)
    with closing(runner.chat(system, **generation)) as chat:
        if isinstance(shown_by.provider, ChatFrontend):
            with shown_by.blamed():
                shown_by.provider.chat(chat, console)
            return
        interactive = sys.stdin.isatty()
        loop = ChatLoop(chat, shown_by, console, interactive=interactive)
        loop.run(lines_of(sys.stdin))
