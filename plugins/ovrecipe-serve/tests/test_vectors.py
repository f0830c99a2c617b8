"""Embeddings and rerank, asked by OpenAI's client and as Cohere's clients ask."""

from __future__ import annotations

import base64
import struct

import openai
import pytest
from conftest import BERT, CROSS, TWIN

pytestmark = [pytest.mark.model, pytest.mark.slow]
TEXTS = ["Paris is the capital of France.", "A recipe names a model."]


@pytest.fixture(scope="module")
def vectors(tiny):
    """What the client makes of texts, whose vectors it asks for in base64."""
    return tiny.client().embeddings.create(model=BERT, input=TEXTS)


def embed(tiny, **body):
    """Return the answer to a request as it is."""
    with tiny.http() as http:
        return http.post("/v1/embeddings", json={"model": BERT, "input": TEXTS, **body})


def rerank(tiny, path="/v1/rerank", **body):
    """Return the answer to a request as it is."""
    asked = {"model": CROSS, "query": "the capital", "documents": TEXTS, **body}
    with tiny.http() as http:
        return http.post(path, json=asked)


def test_texts_become_vectors_of_length_one_in_their_order(tiny, vectors):
    """The same alone as among others, and with the tokens that were read."""
    assert [one.index for one in vectors.data] == [0, 1]
    assert vectors.model == BERT
    alone = tiny.client().embeddings.create(model="bert", input=TEXTS[1])
    assert alone.data[0].embedding == pytest.approx(vectors.data[1].embedding, abs=1e-4)
    assert sum(x * x for x in alone.data[0].embedding) == pytest.approx(1, abs=1e-3)
    assert 0 < alone.usage.prompt_tokens < vectors.usage.prompt_tokens
    assert vectors.usage.total_tokens == vectors.usage.prompt_tokens


def test_numbers_and_base64_say_the_same(tiny, vectors):
    """32-bit numbers, the lowest byte first."""
    plain = embed(tiny).json()["data"][0]["embedding"]
    packed = embed(tiny, encoding_format="base64").json()["data"][0]["embedding"]
    content = base64.b64decode(packed)
    assert list(struct.unpack(f"<{len(content) // 4}f", content)) == plain
    assert plain == pytest.approx(vectors.data[0].embedding, abs=1e-6)


def test_more_texts_than_are_read_at_once_keep_their_order(tiny, vectors):
    """Forty, in batches."""
    found = tiny.client().embeddings.create(model=BERT, input=[TEXTS[0]] * 39 + [TEXTS[1]])
    assert len(found.data) == 40
    assert found.data[39].embedding == pytest.approx(vectors.data[1].embedding, abs=1e-4)
    assert found.data[38].embedding == pytest.approx(vectors.data[0].embedding, abs=1e-4)


def test_tokens_are_taken_as_the_text_that_they_are(tiny):
    """One row or several; those that a model puts around a text are left out."""
    row = [57, 100, 62]
    one = embed(tiny, input=row).json()
    two = embed(tiny, input=[row, [2, *row, 3]]).json()
    assert two["data"][0]["embedding"] == pytest.approx(one["data"][0]["embedding"], abs=1e-4)
    assert two["data"][1]["embedding"] == pytest.approx(one["data"][0]["embedding"], abs=1e-4)


def test_what_is_looked_for_has_an_instruction_of_its_own(tiny, vectors):
    """As the recipe or its checkpoint has it."""
    query = embed(tiny, input=TEXTS[0], input_type="query").json()
    by_hand = embed(tiny, input=f"find: {TEXTS[0]}").json()
    assert query["data"] == by_hand["data"]
    assert (
        query["usage"]["prompt_tokens"]
        > embed(tiny, input=TEXTS[0]).json()["usage"]["prompt_tokens"]
    )


@pytest.mark.parametrize(
    ("field", "value", "says", "param"),
    [
        ("input", [], "input", "input"),
        ("input", "  ", "text 1 is empty", None),
        ("input", ["x", ""], "text 2 is empty", None),
        ("input", {"text": "x"}, "input", "input"),
        ("input", ["x", 5], "input", "input"),
        ("input", [[]], "input", "input"),
        ("input", [10**9], "a text has token 1000000000", None),
        ("input", "word " * 100, "more than the 64 that bert reads", None),
        ("input", ["x"] * 2049, "input", "input"),
        ("dimensions", 8, "have 64, and are not cut off", "dimensions"),
        ("encoding_format", "int8", "encoding_format", "encoding_format"),
        ("truncate_prompt_tokens", 5, "truncate_prompt_tokens: unknown", None),
    ],
)
def test_what_cannot_be_embedded_is_refused(tiny, field, value, says, param):
    """With the field, and nothing is cut off without a word; the next is answered."""
    refused = embed(tiny, **{field: value})
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert says in error["message"]
    assert error["param"] == param
    assert embed(tiny, dimensions=64).status_code == 200


def test_a_model_is_asked_for_what_it_does(tiny):
    """Each of the others is a 400 that says where."""
    client = tiny.client()
    hello = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.BadRequestError, match="embeds texts; ask it at /v1/embeddings"):
        client.chat.completions.create(model=BERT, messages=hello)
    with pytest.raises(openai.BadRequestError, match="scores texts for a query; ask it at /v1/re"):
        client.completions.create(model=CROSS, prompt="Hi")
    with pytest.raises(openai.BadRequestError, match="writes text; ask it at /v1/chat/compl"):
        client.embeddings.create(model=TWIN, input="Hi")
    with pytest.raises(openai.NotFoundError, match="perhaps you meant 'bert:int8'"):
        client.embeddings.create(model="bert:int4", input="Hi")
    with tiny.http() as http:
        assert http.post("/tokenize", json={"model": BERT, "content": "Hi"}).status_code == 400


def test_texts_are_put_in_order(tiny):
    """The best first, as many as wanted, with their text if wanted."""
    whole = rerank(tiny).json()
    scores = [one["relevance_score"] for one in whole["results"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(one["index"] for one in whole["results"]) == [0, 1]
    assert whole["usage"]["prompt_tokens"] > 0
    documents = [{"text": TEXTS[0]}, TEXTS[1]]
    best = rerank(tiny, "/rerank", documents=documents, top_n=1, return_documents=True).json()
    assert best["results"] == [
        {**whole["results"][0], "document": {"text": TEXTS[whole["results"][0]["index"]]}}
    ]


@pytest.mark.parametrize("documents", [[], None, 5, [1, 2], "one", [{"title": "x"}], [""]])
def test_what_cannot_be_put_in_order_is_refused(tiny, documents):
    """In OpenAI's shape."""
    refused = rerank(tiny, documents=documents)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
