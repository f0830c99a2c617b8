"""A tab of a real browser with the page in it, in the words of a user."""

from __future__ import annotations

import json
import time

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PATIENCE_SECONDS = 20


class Tab:
    """One browser with its own profile; waits until something is so, and never just sleeps."""

    def __init__(self, driver):
        self.driver = driver
        self.url = None

    def open(self, url):
        self.url = url
        self.driver.get(url)
        return self.until_restored()

    def reload(self):
        self.driver.refresh()
        return self.until_restored()

    def until_restored(self):
        """Wait until the page has what the browser remembers, and can be used."""
        self.until(lambda: self.state() == "idle" and self.one("#submit").is_enabled())
        return self

    def resize(self, width, height):
        """Take the size of another screen until the page is left."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def leave(self):
        """Close the page, and forget what it left in the browser."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        if self.url is not None:
            kept = {"origin": self.url, "storageTypes": "local_storage"}
            self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", kept)

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
        # Enter alone would submit.
        box.send_keys(instruction.replace("\n", Keys.SHIFT + Keys.ENTER + Keys.NULL))

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
        """Return the text of the last answer."""
        return "".join(self.conversation()[-1:])

    def instruction(self):
        return self.one("#instruction textarea").get_attribute("value")

    def conversation(self):
        """Return what was asked and answered, one after the other."""
        found = self.driver.find_elements(By.CSS_SELECTOR, ".exchange > :is(.asked, .answer)")
        return [element.get_attribute("textContent").strip() for element in found]

    def problem(self):
        return self.text("#problem .problem")

    def figures(self):
        """Return the caption of the last answer's figures, and the figures by name."""
        script = """
            return [...document.querySelectorAll("#exchange .figures dl > div")].map(
              (figure) => [...figure.children].map((part) => part.textContent))"""
        return self.text("#exchange .caption"), dict(self.driver.execute_script(script))

    def box(self, selector):
        """Return where an element is in the window."""
        script = "return arguments[0].getBoundingClientRect().toJSON()"
        return self.driver.execute_script(script, self.one(selector))

    def point_at(self, selector):
        """Move the pointer over an element."""
        ActionChains(self.driver).move_to_element(self.one(selector)).perform()

    def colours(self, selector):
        """Return what an element looks like, as far as it is a matter of colours."""
        element = self.one(selector)
        looks = ("background-color", "border-color", "background-image")
        return [element.value_of_css_property(look) for look in looks]

    def unreadable(self):
        """Return what axe finds serious or critical, contrast included."""
        from selenium_axe_python import Axe

        self.driver.set_script_timeout(60)
        axe = Axe(self.driver)
        axe.inject()
        return {
            (found["id"], node["html"])
            for found in axe.run()["violations"]
            if found["impact"] in {"serious", "critical"}
            for node in found["nodes"]
        }

    def requested_urls(self):
        """Return every address that the page asked for since the last call."""
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and message["params"].get("documentURL", "").startswith("http")
        ]
