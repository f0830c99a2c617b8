"""OpenAI's interface without a server: what requests mean, and what answers are made of."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.errors import EngineBusy, PromptTooLong, RequestRefused
from ovrecipe.run.openai.answers import Piece, Writer, told
from ovrecipe.run.openai.reasoning import ReasoningReader
from ovrecipe.run.openai.requests import ChatRequest, CompletionRequest, read_request
from ovrecipe.run.openai.tools import CallReader, Tool, ToolUse, chosen_tools

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
USE = ToolUse([Tool.model_validate(TOOL)])
CALL = '<tool_call>\n{"name": "find", "arguments": {"a": 1}}\n</tool_call>'


def asked(**fields):
    """Return what a chat request means."""
    return read_request(ChatRequest, {"model": "m", "messages": HI, **fields}).question()


def in_pieces(reader, text, cuts):
    """Return what a reader makes of a text that comes in pieces."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    parts = [reader.feed(text[begin:end]) for begin, end in pairwise(places)]
    return [*parts, reader.finish()]


def test_parameters_have_genais_names():
    """Each that is given, and none that is not."""
    ((_, parameters),) = asked(
        max_tokens=5, temperature=0.5, top_k=-1, stop="x", seed=3, min_tokens=2
    ).asks
    assert parameters == {
        "max_new_tokens": 5,
        "min_new_tokens": 2,
        "temperature": 0.5,
        "top_k": 0,
        "stop_strings": ["x"],
        "rng_seed": 3,
    }


def test_temperature_0_takes_the_likeliest_token_whatever_else_is_said_of_sampling():
    """Many clients send top_p: 1 each time."""
    ((_, parameters),) = asked(temperature=0, top_p=1.0).asks
    assert parameters == {"temperature": 0}


def test_each_of_several_answers_has_a_seed_of_its_own():
    """They would be the same else; without a seed one is drawn."""
    assert [parameters["rng_seed"] for _, parameters in asked(n=3, seed=7).asks] == [7, 8, 9]
    drawn = [parameters["rng_seed"] for _, parameters in asked(n=2).asks]
    assert drawn[1] == drawn[0] + 1


def test_parts_of_a_text_and_the_role_of_a_developer_are_plain_messages():
    """What chat templates know."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "s"}, {"role": "user", "content": parts}]
    ((prompt, _),) = asked(messages=messages).asks
    assert prompt == [{"role": "system", "content": "s"}, {"role": "user", "content": "ab"}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"echo": True}, "echo"),
        ({"stream_options": {}}, "stream_options"),
        ({"top_logprobs": 3, "logprobs": True}, "top_logprobs"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"function": {"name": "fund"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [TOOL], "parallel_tool_calls": False}, "parallel_tool_calls"),
    ],
)
def test_what_is_refused_is_refused_by_its_field(fields, param):
    """Programs look at it."""
    with pytest.raises(RequestRefused, match=param) as refused:
        asked(**fields)
    if param != "temprature":
        assert refused.value.param == param


@pytest.mark.parametrize("value", [None, False, [], {}])
def test_what_cannot_be_honoured_may_be_said_to_be_off(value):
    """Some clients name every field."""
    assert asked(echo=value).asks


def test_a_completion_has_at_most_so_many_answers_in_all():
    """However they are divided among prompts and answers to each."""
    asked = {"model": "m", "prompt": ["a", "b"], "n": 64}
    assert len(read_request(CompletionRequest, asked).question().asks) == 128
    with pytest.raises(RequestRefused, match="n: 65 answers to each of 2 prompts") as refused:
        read_request(CompletionRequest, {**asked, "n": 65}).question()
    assert refused.value.param == "n"


def test_prompts_of_a_completion_may_be_texts_or_tokens():
    """One or several."""

    def prompts(prompt):
        request = read_request(CompletionRequest, {"model": "m", "prompt": prompt})
        return [ask[0] for ask in request.question().asks]

    assert prompts("a") == ["a"]
    assert prompts(["a", "b"]) == ["a", "b"]
    assert prompts([1, 2]) == [[1, 2]]
    assert prompts([[1], [2, 3]]) == [[1], [2, 3]]


def test_a_forced_call_is_a_grammar_of_the_functions_that_may_be():
    """Of one by its name, or of all."""
    other = {"type": "function", "function": {"name": "other"}}
    tools = [Tool.model_validate(one) for one in (TOOL, other)]
    named = chosen_tools(tools, {"function": {"name": "other"}}, parallel=None)
    assert '"const": "other"' in json.dumps(named.form)
    assert "find" not in json.dumps(named.form)
    assert "anyOf" in chosen_tools(tools, "required", parallel=None).form["json_schema"]


def test_a_model_is_told_of_the_functions_in_its_system_text():
    """Behind what is said there already; calls and their results become text."""
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    ((prompt, _),) = asked(messages=messages, tools=[TOOL]).asks
    assert prompt[0]["content"].startswith("Be brief.\n\n")
    assert '"name": "find"' in prompt[0]["content"]
    assert prompt[2]["content"] == ('<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call>')
    assert prompt[3] == {"role": "user", "content": "<tool_response>\nfound\n</tool_response>"}


@pytest.mark.parametrize(
    ("text", "said", "names"),
    [
        ("no call", "no call", []),
        (CALL, "", ["find"]),
        (f"I look.\n{CALL}", "I look.", ["find"]),
        (f"{CALL}\n{CALL}", "", ["find", "find"]),
        ("<tool_call>{", "<tool_call>{", []),
        ("<tool_call>no JSON</tool_call>", "<tool_call>no JSON</tool_call>", []),
        (CALL.replace("find", "lost"), CALL.replace("find", "lost"), []),
        (CALL.removesuffix("</tool_call>"), "", ["find"]),
        ("a < b <tool", "a < b <tool", []),
    ],
)
@given(cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8))
def test_calls_are_read_however_the_answer_is_cut(text, said, names, cuts):
    """What is no call of these functions stays text."""
    parts = in_pieces(CallReader(USE), text, cuts)
    assert "".join(shown for shown, _ in parts) == said
    assert [call.name for _, calls in parts for call in calls] == names


@pytest.mark.parametrize(
    ("text", "begins_inside", "thought", "said"),
    [
        ("plain", False, "", "plain"),
        ("<think>\nhm\n</think>\n\nyes", False, "hm", "yes"),
        ("hm</think>yes", True, "hm", "yes"),
        ("\n<think>hm</think>yes", False, "hm", "yes"),
        ("<think>for ever", False, "for ever", ""),
        ("say <think>", False, "", "say <think>"),
        ("<thin air", False, "", "<thin air"),
        ("<think>a </thin b</think>c", False, "a </thin b", "c"),
        ("", False, "", ""),
    ],
)
@given(cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8))
def test_reasoning_is_divided_however_the_answer_is_cut(text, begins_inside, thought, said, cuts):
    """Only at the beginning."""
    parts = in_pieces(ReasoningReader(begins_inside=begins_inside), text, cuts)
    assert "".join(one for one, _ in parts) == thought
    assert "".join(one for _, one in parts) == said


def test_a_stream_and_the_whole_say_the_same():
    """Of every choice: text, reasoning, calls, usage."""
    question = asked(n=2, tools=[TOOL], stream=True, stream_options={"include_usage": True})
    pieces = [
        (0, Piece("<think>hm</think>Yes", [])),
        (1, Piece(f"I look. {CALL[:20]}", [])),
        (0, Piece(".", [], "stop", 10, 5)),
        (1, Piece(CALL[20:], [], "stop", 10, 7)),
    ]
    streamed, whole = (Writer(question, "m", chat=True) for _ in range(2))
    chunks = [chunk for index, piece in pieces for chunk in streamed.chunks(index, piece)]
    for index, piece in pieces:
        whole.take(index, piece)
    first, second = whole.whole()["choices"]
    deltas = [[], []]
    for chunk in chunks:
        (choice,) = chunk["choices"]
        deltas[choice["index"]].append(choice["delta"])
    said = ["".join(delta.get("content", "") for delta in of) for of in deltas]
    assert said == [first["message"]["content"], second["message"]["content"]]
    assert first["message"]["reasoning_content"] == "hm"
    (call,) = second["message"]["tool_calls"]
    assert (call["function"]["name"], second["finish_reason"]) == ("find", "tool_calls")
    (closing,) = streamed.closing()
    assert closing["usage"] == whole.whole()["usage"]
    assert closing["usage"]["prompt_tokens"] == 10
    assert closing["usage"]["completion_tokens"] == 12


def test_errors_have_the_status_that_clients_know():
    """And the code that programs look at."""
    assert told(PromptTooLong("long"))[0] == 400
    assert told(PromptTooLong("long"))[1]["error"]["code"] == "context_length_exceeded"
    assert told(EngineBusy("full", remedy="wait"))[1]["error"]["message"] == "full; wait"
    assert told(EngineBusy("full"))[0] == 429
