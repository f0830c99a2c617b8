"""A tab of a real browser with the page in it, in the words of a user."""

from __future__ import annotations

import json
import time

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PATIENCE_SECONDS = 20


class Tab:
    """One browser with its own profile; waits until something is so, and never just sleeps."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)
        self.until(lambda: self.state() == "idle")
        self.until(lambda: self.one("#submit").is_enabled())
        return self

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found[0].get_attribute("textContent").strip() if found else ""

    def until(self, claim):
        """Wait until `claim()` holds; gradio replaces elements, so stale ones are looked up again.

        Raises the claim's own AssertionError, or says what the page shows.
        """
        limit = time.monotonic() + PATIENCE_SECONDS
        while not self._holds(claim):
            assert time.monotonic() < limit, f"waited in vain; the page shows {self.shown()}"
            time.sleep(0.02)

    def _holds(self, claim):
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )

        try:
            return claim()
        except (NoSuchElementException, StaleElementReferenceException):
            return False

    def shown(self):
        return {"status": self.status(), "response": self.response(), "problem": self.problem()}

    def type(self, instruction):
        box = self.one("#instruction textarea")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.DELETE)
        box.send_keys(instruction)

    def ask(self, instruction):
        """Submit, and return when the page shows something of the turn."""
        before = self.turn()
        self.type(instruction)
        self.click("#submit")
        self.until(lambda: self.turn() != before)

    def click(self, selector):
        element = self.one(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.until(lambda: self.one(selector).is_enabled())
        self.one(selector).click()

    def choose(self, group, value):
        self.click(f"#{group} input[value='{value}']")

    def chosen(self, group):
        return self.one(f"#{group} input:checked").get_attribute("value")

    def state(self):
        return self.one("#status .status").get_attribute("data-state")

    def turn(self):
        return self.one("#status .status").get_attribute("data-turn")

    def status(self):
        return self.text("#status .status")

    def response(self):
        found = self.driver.find_elements(By.CSS_SELECTOR, "#response textarea")
        return found[0].get_attribute("value") if found else ""

    def instruction(self):
        return self.one("#instruction textarea").get_attribute("value")

    def conversation(self):
        found = self.driver.find_elements(By.CSS_SELECTOR, "#conversation .message-content")
        return [each.get_attribute("textContent").strip() for each in found]

    def problem(self):
        return self.text("#problem .problem")

    def figures(self):
        """Return the tiles by name, and where they come from."""
        source = self.one("#performance .figures").get_attribute("data-source")
        names = self.driver.find_elements(By.CSS_SELECTOR, "#performance dt")
        values = self.driver.find_elements(By.CSS_SELECTOR, "#performance dd")
        tiles = {
            name.get_attribute("textContent"): value.get_attribute("textContent")
            for name, value in zip(names, values, strict=True)
        }
        return source, tiles

    def requested_urls(self):
        """Return every address that the page asked for since the last call."""
        messages = [
            json.loads(each["message"])["message"] for each in self.driver.get_log("performance")
        ]
        return [
            each["params"]["request"]["url"]
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
            and each["params"].get("documentURL", "").startswith("http")
        ]
