"""A page in a process that can be killed: its model says two words and then no more."""

from __future__ import annotations

import os
import sys
import threading

from ovrecipe_gradio.server import build, launch, switch_off_analytics

from ovrecipe.testing import FakePipeline, fake_chat

switch_off_analytics(os.environ)


def main(port):
    from ovrecipe_gradio.catalog import chat_catalog
    from ovrecipe_gradio.engine import Engine

    runner = fake_chat(FakePipeline(["one ", "two"], gate=threading.Semaphore(2))).runner
    engine = Engine(lambda choice, announce: runner)
    choice = engine.adopt(runner)
    address = launch(build(chat_catalog(runner.chat()), engine, choice), port=port)
    print(address.local, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else None)
