"""The page is one file that asks nobody for anything, and shows texts of a model as texts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from ovrecipe.report.render import to_html, to_markdown
from tests.report.making import document, variant

#: What would act in a page, or end what a template has opened.
EVIL = (
    "</script></code></pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=x>"
)
#: Elements with a meaning that only the template may write.
ACTING = {"script", "img", "iframe", "object", "embed", "link", "base", "form", "a"}


class Page(HTMLParser):
    """What a browser finds in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def evil_document() -> dict[str, Any]:
    """Return a report whose every text that comes from elsewhere tries to act."""
    refused = variant("int4", 86_000_000, 0.37, state="refused", answer=EVIL, objections=[EVIL])
    refused["rendered_otherwise"] = [EVIL]
    return document(
        name=EVIL,
        description=EVIL,
        recipe={"prompt": {"template": EVIL}, EVIL: EVIL},
        source={"model": EVIL, "pin": {"commit": EVIL}},
        reference={"by": EVIL},
        variants=[refused | {"on_front": False}, variant(EVIL, 90_000_000, 0.1)],
        versions={EVIL: [EVIL], "ovrecipe": [EVIL]},
        commands=[EVIL],
        artifacts=[
            {**made, "stage": EVIL, "made_for": EVIL, "files": {EVIL: file}}
            for made in document()["artifacts"]
            for file in made["files"].values()
        ],
    )


def test_no_text_of_a_model_or_recipe_acts_in_the_page() -> None:
    """A page that is sent on must not run what a checkpoint's template or an answer says."""
    page = Page(to_html(evil_document()))
    assert not ACTING & {*page.tags}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert EVIL in page.texts
    assert {tag: page.tags.count(tag) for tag in ("pre", "html", "style")} == {
        "pre": 3, "html": 1, "style": 1,
    }  # fmt: skip


def test_the_page_asks_no_network() -> None:
    """It is opened from a mail, on a train; and its policy keeps it so."""
    text = to_html(document())
    page = Page(text)
    assert not [pair for pair in page.attributes if pair[0] in {"src", "href", "xlink:href"}]
    assert "url(" not in text
    assert "@import" not in text
    policy = ("content", "default-src 'none'; style-src 'unsafe-inline'")
    assert policy in page.attributes


def test_a_plot_is_said_in_words() -> None:
    """Who does not see it hears the same figures."""
    labels = [value for name, value in Page(to_html(document())).attributes if name == "aria-label"]
    assert (
        "Size of the weights: int8 135.0 MB, 1.99x smaller; int4 86.0 MB, 3.13x smaller" in labels
    )
    assert any("int4 86.0 MB, 3.13x smaller, 0.37 ± 0.04 nats" in label for label in labels)
    assert "Precision of the layers of int4: u4 in 6 layers; u8 in 1 layer" in labels


def test_no_two_elements_have_one_id() -> None:
    """Plots of one library stand beside each other; labels must lead to one place."""
    variants = [variant(name, 86_000_000, 0.37) for name in ("int4", "int4-b")]
    attributes = Page(to_html(document(variants=variants))).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert sorted(ids) == sorted(set(ids))
    assert {value for name, value in attributes if name == "aria-labelledby"} <= {*ids}


def test_a_variant_that_was_not_measured_is_in_the_page_all_the_same() -> None:
    """Older artifacts have no figures, and a directory can be refused before it is asked."""
    old = variant("int4", 86_000_000, 0.37, quality={}, answer=None, layers=[], ratio=None)
    page = Page(
        to_html(document(variants=[old], reference={}, source={"model": "./here", "pin": {}}))
    )
    assert "quality" not in [value for name, value in page.attributes if name == "id"]
    assert "86.0 MB" in page.texts


@pytest.mark.parametrize(("mean_kl", "said"), [(0.0, "&lt;1e-6 nats"), (None, "no number")])
def test_a_divergence_that_has_no_logarithm_is_drawn(mean_kl: float | None, said: str) -> None:
    """FP16 rounds to nothing, and logits that are no numbers have no divergence."""
    odd = variant("int8", 135_000_000, 0.1)
    odd["quality"] = {"same_top": 1.0, "tokens": 188, "mean_kl_error": 0.0}
    if mean_kl is not None:
        odd["quality"]["mean_kl"] = mean_kl
    text = to_html(document(variants=[odd, variant("int4", 86_000_000, 0.37)]))
    assert f"int8 135.0 MB, 1.99x smaller, {said}" in text


def test_a_refused_variant_stands_there_with_the_limits_that_it_exceeds() -> None:
    """Whoever reads the page must not take it for the others' equal; a crash has no figures."""
    line = "mean_kl is 9.3, at most 1.5 is accepted"
    refused = {"state": "refused", "on_front": False}
    variants = [
        variant("int4", 86_000_000, 9.3, objections=[line], **refused),
        variant("int8", 135_000_000, 0.1, quality={}, answer=None, **refused),
    ]
    page, text = to_html(document(variants=variants)), to_markdown(document(variants=variants))
    assert f"<li>{line}</li>" in page
    assert "<li><code>ovrecipe why smollm2-135m:int8</code> says more</li>" in page
    assert "int4 was refused by a gate, so it has no name:" in text
    assert "- `ovrecipe why smollm2-135m:int8` says more" in text


def test_a_prompt_that_other_programs_make_otherwise_is_shown() -> None:
    """They open the same directory, and ask the model something else."""
    found = variant("int4", 86_000_000, 0.37, rendered_otherwise=["chat template, tools: a, not b"])
    shown = document(variants=[found, {**found, "variant": "int8"}])
    for text in (to_html(shown), to_markdown(shown)):
        assert text.count("chat template, tools: a, not b") == 1
        assert "another prompt than ovrecipe of 1 conversation:" in text
        assert "another prompt than ovrecipe" not in to_html(document())


def test_markdown_shows_texts_as_they_are() -> None:
    """An answer with a fence of its own ends no fence; HTML in Markdown would act."""
    answer = "see:\n```html\n<script>alert(1)</script>\n````\n"
    text = to_markdown(document(variants=[variant("int4", 86_000_000, 0.37, answer=answer)]))
    assert f"`````text\n{answer}\n`````\n" in text
    outside = to_markdown(evil_document()).replace("\\", "")
    assert outside.count(f"# {EVIL}") == 1
    assert f"\n# {EVIL}" not in to_markdown(evil_document())


def test_markdown_has_a_row_for_each_variant() -> None:
    """Whoever pastes it into an issue wants the table."""
    lines = to_markdown(document()).splitlines()
    assert (
        "| int4 | accepted | 86.0 MB, 3.13x smaller | 0.37 ± 0.04 nats | 95.0 % | 1.020 ± 0.010 |"
        in lines
    )
    assert r"| int4\-npu | not built |  |  |  |  |" in lines
