"""The page in a real browser, with the real model behind it."""

from __future__ import annotations

import os
import shutil

import pytest
from conftest import HANGS_SECONDS, MODEL

pytestmark = [pytest.mark.model, pytest.mark.browser]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--window-size=1100,800",
)


@pytest.fixture
def page(server, tmp_path):
    """The page, open; what it says on the console fails the test."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    found = [shutil.which(program) for program in BROWSERS]
    browser, chromedriver = next(filter(None, found), None), shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.fail("no Chromium: apt-get install chromium chromium-driver, or -m 'not browser'")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={tmp_path}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        driver.get(server.url)
        yield driver
        said = driver.get_log("browser")
        assert [entry for entry in said if entry["level"] in ("SEVERE", "WARNING")] == []
    finally:
        driver.quit()


def until(driver, script):
    """Wait until an expression of the page is true, and return what it is."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, HANGS_SECONDS).until(
        lambda _: driver.execute_script(f"return {script}")
    )


def ask(driver, text):
    """Type and press Enter."""
    driver.find_element("id", "ask").send_keys(text, "\n")


def test_a_chat_streams_and_can_be_stopped(page):
    """Facts of the model, an answer with its figures, one that is stopped, a new beginning."""
    until(page, f"document.querySelector('#model').value === '{MODEL}'")
    facts = until(page, "document.querySelector('#facts').textContent")
    assert "85.8 MB" in facts
    assert "mean KL" in facts
    page.find_element("id", "temperature").send_keys("0")
    ask(page, "What is the capital of France?")
    figures = until(page, "document.querySelector('.figures')?.textContent")
    assert "tokens/s" in figures
    assert "Paris" in page.find_element("css selector", ".assistant .text").text
    if where := os.environ.get("PAGE_PICTURE"):
        page.save_screenshot(where)
    ask(page, "Tell me a very long story about a ship.")
    until(page, "document.querySelectorAll('.assistant .text')[1]?.textContent.length > 10")
    page.find_element("id", "stop").click()
    stopped = until(page, "document.querySelectorAll('.figures')[1].textContent")
    assert stopped.startswith("stopped")
    until(page, "!document.querySelector('#send').disabled")
    page.find_element("id", "clear").click()
    assert page.find_elements("css selector", ".turn") == []


def test_what_an_answer_says_is_text(page):
    """Markup of a question or an answer stays what it is."""
    until(page, "document.querySelector('#model').value")
    page.find_element("id", "limit").send_keys("3")
    ask(page, "<img src=x onerror=document.title='broken'>")
    until(page, "document.querySelector('.figures')?.textContent")
    assert page.title == "ovrecipe"
    assert page.find_elements("css selector", ".turn img") == []
