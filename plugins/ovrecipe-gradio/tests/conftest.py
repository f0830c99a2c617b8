"""Sites with fake models behind the real page, and real browsers in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ovrecipe_gradio.server import switch_off_analytics

from ovrecipe.testing import FakePipeline, fake_chat

switch_off_analytics(os.environ)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


def gated(*pieces):
    """Return a pipeline whose pieces wait for `pipeline.gate.release()`."""
    return FakePipeline(pieces=pieces, gate=threading.Semaphore(0))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """A shell's background jobs ignore Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Site:
    """A page that is served, and what is behind it."""

    url: str
    engine: object
    loaded: list


@dataclass
class ServerProcess:
    """A page in a process of its own."""

    url: str
    kill: Callable[[], None]


@pytest.fixture
def site():
    """Serve a page: `site(pipeline, int8=make)`; `make` returns a pipeline or raises."""
    from ovrecipe_gradio.catalog import chat_catalog
    from ovrecipe_gradio.engine import Engine
    from ovrecipe_gradio.server import build, launch

    opened = []

    def served(pipeline=None, *, runner=None, **others):
        runner = runner or fake_chat(pipeline, others=others).runner
        loaded = []

        def open_model(choice, announce):
            loaded.append(choice)
            announce(f"{choice.variant} was loaded for a test")
            return runner.variants.load(choice.variant)

        engine = Engine(open_model)
        choice = engine.adopt(runner)
        blocks = build(chat_catalog(runner.chat()), engine, choice)
        opened.append((pipeline, engine, blocks))
        return Site(launch(blocks).local, engine, loaded)

    yield served
    for pipeline, engine, blocks in opened:
        if pipeline is not None and pipeline.gate is not None:
            # A test that failed must not leave a thread that waits for ever.
            pipeline.gate.release(10_000)
        engine.close()
        blocks.close(verbose=False)


@pytest.fixture
def server_process():
    """Start pages in processes of their own: `server_process(port=None)` has `url` and `kill`."""
    processes = []

    def started(port=None):
        command = [sys.executable, str(Path(__file__).with_name("fake_server.py"))]
        command += [] if port is None else [str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return ServerProcess(process.stdout.readline().strip(), process.kill)

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def _driver(profile_dir):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    found = [shutil.which(program) for program in BROWSERS]
    browser, chromedriver = next(filter(None, found), None), shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.fail(
            "the page is tested in Chromium, which is missing: apt-get install chromium "
            "chromium-driver, or leave these tests out with -m 'not browser'"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={profile_dir}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_page_load_timeout(60)
    return driver


@pytest.fixture(scope="session")
def _tabs(tmp_path_factory):
    from tab import Tab

    opened = []

    def nth(number):
        while len(opened) <= number:
            opened.append(Tab(_driver(tmp_path_factory.mktemp("profile"))))
        return opened[number]

    yield nth
    for opened_tab in opened:
        opened_tab.driver.quit()


@pytest.fixture
def tab(_tabs):
    """A browser; the page of the test before is closed and forgotten."""
    found = _tabs(0)
    yield found
    found.leave()


@pytest.fixture
def other_tab(_tabs):
    """A second browser with a profile of its own."""
    found = _tabs(1)
    yield found
    found.leave()


@pytest.fixture(scope="session")
def hosts_asked():
    """Every address that this process looks up or connects to, as Python's audit events say."""
    asked = set()

    def listen(event, arguments):
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            asked.add(str(arguments[1][0]))
        elif event == "socket.getaddrinfo":
            asked.add(str(arguments[0]))

    sys.addaudithook(listen)
    return asked
