"""Answers held to a form: by GenAI's compiler, with the real model, on the command line."""

from __future__ import annotations

import json
import re

import pytest

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.run.artifact import find_artifact
from ovrecipe.run.structured import FormCheck
from ovrecipe.testing import FakePipeline
from tests.run.fakes import runner

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASK = "Give me a person as JSON with name and age."


def test_the_form_of_a_call_takes_the_place_of_the_artifacts():
    """One at a time reaches GenAI."""
    pipeline = FakePipeline()
    model = runner(pipeline, parameters={"regex": "[ab]+"})
    model.generate("?")
    model.generate("?", grammar='root ::= "a"')
    assert pipeline.configs == [{"regex": "[ab]+"}, {"grammar": 'root ::= "a"'}]


@pytest.mark.parametrize(
    ("limit", "unfinished"),
    [
        ({}, None),
        (
            {"max_new_tokens": 2},
            "the answer reached its limit of 2 tokens, so it is no whole JSON document",
        ),
    ],
)
def test_an_answer_that_was_cut_says_that_it_is_no_json(limit, unfinished):
    """Whoever parses it would stumble over it; the limit is why."""
    model = runner(FakePipeline(["{", '"a":', "1}"]))
    assert model.generate("?", json_schema=PERSON, **limit).unfinished == unfinished
    assert model.generate("?", **limit).unfinished is None


@pytest.fixture(scope="session")
def model_dir(smollm2_project):
    """The directory of SmolLM2 in INT4."""
    from ovrecipe.recipe.load import load_recipe

    recipe = load_recipe(smollm2_project, "smollm2-135m")
    return find_artifact(smollm2_project, recipe, "int4").model_dir


@pytest.mark.model
@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"regex": "(["}, "regex: does not compile: .*Unclosed '\\['"),
        ({"regex": "(?=a)b"}, "regex: does not compile: .*Lookahead is not supported"),
        ({"grammar": "root ::= foo"}, 'grammar: does not compile: .*"foo" is not defined'),
        ({"grammar": 'rot ::= "a"'}, "grammar: does not compile: .*root rule"),
        ({"grammar": 'root ::= root "a"'}, "grammar: no text can satisfy it"),
        ({"json_schema": {"type": "string", "pattern": "(["}}, "json_schema: does not compile: "),
    ],
)
def test_a_form_that_does_not_compile_is_refused_without_the_model(model_dir, form, message):
    """In the compiler's words, before gigabytes are read."""
    with pytest.raises(GenerationParameterRefused, match=message) as told:
        FormCheck(model_dir).check(form)
    assert ".cc" not in str(told.value)


@pytest.mark.model
def test_forms_that_compile_are_none_of_its_business(model_dir):
    """Also one that allows nothing but the end."""
    for form in ({"regex": "[ab]+"}, {"grammar": 'root ::= ""'}, {"json_schema": PERSON}):
        FormCheck(model_dir).check(form)


@pytest.mark.model
def test_answers_have_the_form_that_was_asked_for(smollm2):
    """A schema, a regular expression, a grammar; streamed and sampled like any answer."""
    result = smollm2.generate(ASK, json_schema=PERSON, greedy=True, max_new_tokens=80)
    person = json.loads(result.text)
    assert person.keys() == {"name", "age"}
    assert result.unfinished is None
    seen = smollm2.generate("A date?", regex="[0-9]{4}-[0-9]{2}", temperature=2.0).text
    assert re.fullmatch("[0-9]{4}-[0-9]{2}", seen)
    said = "".join(smollm2.stream("Is it?", grammar='root ::= "yes" | "no"', temperature=2.0))
    assert said in {"yes", "no"}


@pytest.mark.model
def test_a_form_that_does_not_compile_leaves_the_model_usable(smollm2):
    """It is refused when the answer is asked for; the next one comes as ever."""
    with pytest.raises(GenerationParameterRefused, match=r"^regex: does not compile: "):
        smollm2.generate("?", regex="([")
    assert "Paris" in smollm2.generate("What is the capital of France?", greedy=True).text


@pytest.mark.model
def test_a_stop_text_within_the_form_is_said(smollm2):
    """GenAI calls both ends 'stop'."""
    result = smollm2.generate("Say yes", regex="(yes ){9}", stop_strings=["s y"], greedy=True)
    assert result.finish_reason == "stop"
    assert result.unfinished == (
        "the answer was ended by a stop text, so it is no whole match of the regex"
    )


@pytest.mark.model
def test_the_command_line_prints_json_or_says_why_not(ovrecipe, smollm2_project, tmp_path):
    """With an exit code of its own, for scripts that parse what comes."""
    (tmp_path / "person.json").write_text(json.dumps(PERSON))
    words = ("run", "smollm2-135m:int4", ASK, "--greedy", "--schema", str(tmp_path / "person.json"))
    done = ovrecipe(*words, cwd=smollm2_project.root)
    assert (done.code, json.loads(done.out).keys()) == (0, {"name", "age"})
    done = ovrecipe(*words, "--max-new-tokens", "5", cwd=smollm2_project.root)
    assert done.code == 11
    assert "the answer reached its limit of 5 tokens, so it is no whole JSON document" in done.said


def test_a_file_that_is_not_there_is_a_wrong_word(project, ovrecipe):
    """As every option with a wrong value."""
    (project.recipes_dir / "phi.yaml").write_text(
        "model: {id: org/phi}\nprompt: {template: '{instruction}'}\nvariants: {int4: {}}\n"
    )
    done = ovrecipe("run", "phi:int4", "hi", "--schema", "none.json", cwd=project.root)
    assert (done.code, "none.json: No such file" in done.said) == (2, True)
