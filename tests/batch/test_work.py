"""A batch on an engine without a model: order, errors of lines, engines that fail, resuming."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.cli.batch_command import counted_lines, writer
from ovrecipe.errors import ProjectError
from ovrecipe.run.batch.lines import read_line
from ovrecipe.run.batch.resume import answered_lines
from ovrecipe.run.batch.work import Batch
from ovrecipe.types import GenerationResult
from tests.run.fakes import FakeBatching, engine, recipe, template_of

PROMPT = {"template": "{system} Q: {instruction}\nA:", "system": "Be kind."}
ASKED = [
    '{"instruction": "What?", "id": 7}',
    '{"prompt": "Why?", "system": "Be brief."}',
    '{"messages": [{"role": "user", "content": "Who?"}]}',
]


def openai_line(custom_id, **body):
    """Return a line of OpenAI's batch format."""
    whole = {"model": "any", "messages": [{"role": "user", "content": "Hi"}], **body}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps({**line, "body": whole})


def answered(lines, *, engines=None, **generation):
    """Return the rows of a batch, and the engines that were opened."""
    written, opened = [], []

    def open_engine():
        opened.append(engines.pop(0) if engines else FakeBatching())
        return engine(opened[-1], recipe=recipe(prompt=PROMPT))

    batch = Batch(
        open_engine,
        iter(enumerate(lines, start=1)),
        write=written.append,
        generation=generation,
    )
    counts = batch.run()
    assert counts.answered == len(written)
    assert all(text.endswith("\n") for text in written)
    return [json.loads(text) for text in written], opened


def test_each_line_comes_back_with_its_answer():
    """In the same order, with all that was in it."""
    rows, (pipeline,) = answered(ASKED)
    assert [row["answer"] for row in rows] == ["yes"] * 3
    assert rows[0] == {
        "instruction": "What?",
        "id": 7,
        "answer": "yes",
        "finish_reason": "stop",
        "prompt_tokens": len("Be kind. Q: What?\nA:"),
        "generated_tokens": 3,
    }
    assert pipeline.prompts[1].startswith("Be brief.")
    assert pipeline.closed


def test_lines_are_answered_together():
    """And written in their order, whichever ends first."""
    lines = [
        json.dumps({"instruction": str(number), "generation": {"max_new_tokens": 1 + number % 3}})
        for number in range(40)
    ]
    rows, (pipeline,) = answered(lines)
    assert [row["instruction"] for row in rows] == [str(number) for number in range(40)]
    assert pipeline.most == pipeline.most_at_once


def test_parameters_of_a_line_come_before_those_of_the_command():
    """`-g` is for lines that say nothing else."""
    own = '{"instruction": "?", "generation": {"max_new_tokens": 2}}'
    rows, _ = answered([own, '{"instruction": "?"}'], max_new_tokens=1)
    assert [row["generated_tokens"] for row in rows] == [2, 1]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "the line is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "this one has none"),
        ('{"instruction": "a", "prompt": "b"}', "has instruction and prompt"),
        ('{"instruction": ""}', "the prompt is empty"),
        ('{"instruction": 5}', "the prompt is a int"),
        ('{"instruction": "?", "generation": 3}', "generation: is not an object"),
        ('{"instruction": "?", "generation": {"unknown": 3}}', "unknown: the installed GenAI"),
        ('{"messages": [{"role": "user"}]}', "content: is missing"),
        ('{"instruction": "refused"}', "GenAI does not take the request"),
        ('{"instruction": "?", "generation": {"logprobs": 1}}', "logprobs: cannot be given"),
        ('{"instruction": "?", "generation": {"prompt": "x"}}', "prompt: cannot be given"),
        ('{"instruction": "?", "generation": {"deliver": 1}}', "deliver: cannot be given"),
        ('{"instruction": "?", "generation": {"self": 1}}', "self: cannot be given"),
        ('{"instruction": "?", "generation": {"messages": []}}', "messages: cannot be given"),
        ('{"instruction": "?", "generation": {"stop_strings": 5}}', "stop_strings: must be texts"),
        ('{"prompt": "?", "generation": {"stop_strings": [["a"]]}}', "stop_strings: must be texts"),
        ('{"prompt": "?", "generation": {"stop_strings": ""}}', "stop_strings: must be texts"),
    ],
)
def test_a_line_that_cannot_be_answered_gets_its_error(line, says):
    """And costs no other its answer."""
    rows, _ = answered([ASKED[0], line, ASKED[0]])
    assert says in rows[1]["error"]["message"]
    assert [row.get("answer") for row in rows] == ["yes", None, "yes"]


def test_lines_of_openai_are_answered_as_openai_does():
    """With the status and the body that its server would give."""
    body = {"max_tokens": 2, "n": 2, "seed": 1}
    rows, _ = answered([openai_line("a", **body), openai_line("b", logit_bias={"1": 1})])
    first, second = rows
    assert (first["custom_id"], first["error"]) == ("a", None)
    assert first["response"]["status_code"] == 200
    choices = first["response"]["body"]["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["ye", "ye"]
    assert first["response"]["body"]["usage"]["completion_tokens"] == 4
    assert second["response"]["status_code"] == 400
    assert "logit_bias" in second["response"]["body"]["error"]["message"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (openai_line("a", stream=True), "stream: a line of a file cannot be streamed"),
        ('{"custom_id": "a", "url": "/v1/images", "body": {}}', "url: must be one of"),
        ('{"custom_id": "a", "url": [], "body": {}}', "url: must be one of"),
        ('{"custom_id": "a", "method": "GET", "body": {}}', "method: must be POST"),
        ('{"custom_id": "a", "body": []}', "body: is not an object"),
    ],
)
def test_a_line_of_openai_that_means_nothing_is_refused(line, says):
    """In its own form."""
    ((row,), _) = answered([line])
    assert says in row["response"]["body"]["error"]["message"]


def test_a_line_that_ends_the_engine_is_found_and_costs_no_other_its_answer():
    """It is loaded again, and each that was being answered is asked alone."""
    lines = [json.dumps({"instruction": text}) for text in ("a", "poison", "b", "c")]
    rows, opened = answered(lines)
    assert ["answer" in row for row in rows] == [True, False, True, True]
    assert rows[1]["error"]["type"] == "EngineFailed"
    assert len(opened) == 3


def test_choices_that_ended_before_an_engine_failed_are_not_said_twice():
    """All choices of its line are asked again."""
    template = template_of(recipe(prompt=PROMPT))
    line = read_line(openai_line("a", n=2), 1, template=template, generation={}, own={})
    paris = GenerationResult("Paris.", "stop", 1, 2, None, "CPU")
    line.take(0, paris, ())
    line.begin_again()
    line.take(0, paris, ())
    line.take(1, paris, ())
    choices = line.row["response"]["body"]["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["Paris."] * 2


@pytest.mark.parametrize(("own", "reasons"), [({}, True), ({"regex": "yes"}, False)])
def test_reasoning_that_the_prompt_has_begun_is_divided(own, reasons):
    """As the server does; an answer of a form has none."""
    template = template_of(recipe(prompt={"template": "{instruction}<think>"}))
    line = read_line(openai_line("a", n=2), 1, template=template, generation={}, own=own)
    for index in range(2):
        line.take(index, GenerationResult("yes", "stop", 1, 1, None, "CPU"), ())
    said = [choice["message"] for choice in line.row["response"]["body"]["choices"]]
    assert [message.get("reasoning_content") == "yes" for message in said] == [reasons] * 2
    assert [message["content"] == "yes" for message in said] == [not reasons] * 2


@pytest.mark.parametrize("to_stdout", [False, True])
def test_half_a_character_of_a_question_comes_back_as_it_was(tmp_path, capfdbinary, to_stdout):
    """No encoding has it, but JSON has an escape for it."""
    lines = [r'{"instruction": "caf\ud83d", "id": "é"}']
    path = tmp_path / "out.jsonl"
    with ExitStack() as stack:
        write = writer("-" if to_stdout else str(path), stack)
        batch = Batch(
            lambda: engine(recipe=recipe(prompt=PROMPT)),
            texts(lines),
            write=write,
            generation={},
        )
        assert batch.run().errors == 1
    found = capfdbinary.readouterr().out if to_stdout else path.read_bytes()
    assert r'"caf\ud83d"' in found.decode()
    assert json.loads(found)["id"] == "é"


def test_lines_are_counted_only_where_that_does_not_take_them_away(tmp_path):
    """What a FIFO has said is gone."""
    path = tmp_path / "in.jsonl"
    path.write_text("a\n\nb\n")
    assert counted_lines(str(path)) == 2
    os.mkfifo(tmp_path / "pipe")
    assert counted_lines(str(tmp_path / "pipe")) is None


def texts(lines):
    """Return lines with their numbers, as they are read."""
    return iter(enumerate(lines, start=1))


@given(cut=st.integers(min_value=0, max_value=2000))
def test_wherever_a_run_is_killed_each_line_is_answered_once(tmp_path_factory, cut):
    """What the output has is kept, half a line is cut, the rest is asked."""
    lines = [*ASKED, "{", openai_line("a"), '{"instruction": "last"}']
    whole = [json.dumps(row) + "\n" for row in answered(lines)[0]]
    path = tmp_path_factory.mktemp("cut") / "out.jsonl"
    path.write_bytes("".join(whole).encode()[:cut])
    inputs = texts(lines)
    kept, inputs = answered_lines(path, inputs)
    rest = [text for _, text in inputs]
    assert rest == lines[kept:]
    assert path.read_text() == "".join(whole[:kept])
    assert kept == len(whole) or len("".join(whole[: kept + 1]).encode()) > cut


def test_an_output_of_another_input_is_not_gone_on_with(tmp_path):
    """Its answers would stand beside questions that were never asked."""
    path = tmp_path / "out.jsonl"
    path.write_text('{"instruction": "Another?", "answer": "no"}\n')
    with pytest.raises(ProjectError, match=r"out.jsonl:1: is no answer to that line"):
        answered_lines(path, texts(ASKED))


@pytest.mark.parametrize(
    "text",
    [
        "notes without an end",
        '{"a": "whole file in one line"}',
        "[]\n",
        "5\n",
        '{"instruction": "What?", "id": 7}\n',
        '{"instruction": "What?", "id": 8',
    ],
)
def test_a_file_that_is_no_output_stays_as_it_is(tmp_path, text):
    """Somebody has named another one."""
    path = tmp_path / "out.jsonl"
    path.write_text(text)
    with pytest.raises(ProjectError, match=r"out.jsonl:1: is no answer to that line"):
        answered_lines(path, texts(ASKED))
    assert path.read_text() == text


def test_the_input_is_not_taken_as_output(tmp_path):
    """By whatever name."""
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(ASKED))
    (tmp_path / "other").symlink_to(path)
    with pytest.raises(ProjectError, match="is the input"):
        answered_lines(tmp_path / "other", texts(ASKED), input_path=path)


def test_an_output_that_is_longer_than_the_input_is_refused(tmp_path):
    """It is of another input."""
    rows, _ = answered(ASKED)
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ProjectError, match=r"out.jsonl:3: is no answer"):
        answered_lines(path, texts(ASKED[:2]))
