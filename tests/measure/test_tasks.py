"""Tasks of lm-evaluation-harness: through a small stand-in of it, and itself where installed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.errors import GateError, RunError, StageError
from ovrecipe.measure.peers import is_installed
from ovrecipe.measure.scoring import Likelihood
from ovrecipe.measure.tasks import HARNESS, asked, check_harness, continued, loaded_tasks
from ovrecipe.run.prompt import ChatTemplate
from tests.conftest import REPOSITORY, CommandLine

INSTALLED = is_installed(HARNESS)

#: What is used of the harness: its tasks, its interface of models, and the call that asks them.
STAND_IN = {
    "__init__.py": "",
    "api/__init__.py": "",
    "api/model.py": """
import abc
class LM(abc.ABC):
    @abc.abstractmethod
    def loglikelihood(self, requests): ...
    @abc.abstractmethod
    def loglikelihood_rolling(self, requests): ...
    @abc.abstractmethod
    def generate_until(self, requests): ...
""",
    "tasks.py": """
import json, pathlib
class TaskManager:
    def __init__(self, include_defaults): assert not include_defaults
    def load(self, paths):
        found = [json.loads(pathlib.Path(path).read_text()) for path in paths]
        return {"tasks": {task["task"]: task for task in found}}
""",
    "evaluator.py": """
from types import SimpleNamespace
def simple_evaluate(model, tasks, limit, apply_chat_template, log_samples, bootstrap_iters):
    results, counts = {}, {}
    for task in tasks:
        asked = task["asked"][:limit]
        if apply_chat_template:
            asked = [
                [model.apply_chat_template([{"role": "user", "content": args[0]}]), *args[1:]]
                for args in asked
            ]
        requests = [SimpleNamespace(args=tuple(args)) for args in asked]
        answers = getattr(model, task["kind"])(requests)
        said = float(sum(len(str(answer)) for answer in answers))
        results[task["task"]] = {
            "alias": task["task"], "said,none": said, "said_stderr,none": "N/A", "first,strict": 1.0
        }
        counts[task["task"]] = {"original": len(task["asked"]), "effective": len(asked)}
        task["answers"] = answers
    return {"results": results, "n-samples": counts}
""",
}


class Answering:
    """A scorer that says what it was asked."""

    def likelihood(self, context: str, continuation: str) -> Likelihood:
        if context == "nan":
            raise GateError("the model's logits are not finite")
        return Likelihood(-float(len(context)), continuation == "yes")

    def rolling(self, text: str) -> float:
        return -float(len(text))

    def continued(self, prompt: str, *, until: Sequence[str], max_new_tokens: int) -> str:
        return f"{prompt} {list(until)} {max_new_tokens}"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the stand-in where the harness would be imported from."""
    for name, text in STAND_IN.items():
        path = tmp_path / "packages" / HARNESS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    forget()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == HARNESS]:
        del sys.modules[name]


def task_of(folder: Path, kind: str, *questions: Any) -> list[Any]:
    """Return the one task, as it was loaded from a file."""
    path = folder / "t.yaml"
    path.write_text(json.dumps({"task": "t", "kind": kind, "asked": questions}))
    return loaded_tasks([str(path)])


def ask(tasks: list[Any], **how: Any) -> Mapping[str, Any]:
    return asked(tasks, Answering(), **how)["t"]  # type: ignore[arg-type]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [
        ("loglikelihood", ("abc", "yes"), (-3.0, True)),
        ("loglikelihood", ("abc", "no"), (-3.0, False)),
        ("loglikelihood_rolling", ("abcd",), -4.0),
        ("generate_until", ("q", {"until": ".", "max_gen_toks": 5}), "q ['.'] 5"),
        ("generate_until", ("q", {"until": ["a", ""], "do_sample": False}), "q ['a'] 256"),
    ],
)
def test_each_kind_of_question_is_answered(
    tmp_path: Path, kind: str, question: Any, answer: Any
) -> None:
    """The harness gets the types that it asks for."""
    tasks = task_of(tmp_path, kind, question)
    ask(tasks)
    assert tasks[0]["answers"] == [answer]


@pytest.mark.usefixtures("stand_in")
def test_metrics_have_the_names_of_the_harness(tmp_path: Path) -> None:
    """What is no number is left out, and a filter's name kept."""
    tasks = task_of(tmp_path, "loglikelihood_rolling", ["abc"], ["de"], ["f"])
    told: list[Any] = []
    found = ask(tasks, limit=2, progress=lambda *_, **how: told.append(how))
    assert found == {"said": 8.0, "first,strict": 1.0, "questions": 2}
    assert told == [{"done": 0, "total": 2}, {"done": 1, "total": 2}]


@pytest.mark.usefixtures("stand_in")
def test_questions_are_asked_in_the_models_template(tmp_path: Path) -> None:
    """As `ovrecipe run` asks."""
    tasks = task_of(tmp_path, "generate_until", ["q", {"until": []}])
    ask(tasks, template=ChatTemplate("<{{ messages[0].content }}>"))
    assert tasks[0]["answers"] == ["<q> [] 256"]


@pytest.mark.usefixtures("stand_in")
def test_what_a_gate_says_of_the_model_is_not_blamed_on_the_harness(tmp_path: Path) -> None:
    """Exit code 8, not 7."""
    with pytest.raises(GateError, match=r"^the model's logits are not finite$"):
        ask(task_of(tmp_path, "loglikelihood", ["nan", "yes"]))


@pytest.mark.usefixtures("stand_in")
def test_what_the_harness_cannot_do_is_told(tmp_path: Path) -> None:
    """In one line, with the name of its error."""
    with pytest.raises(StageError, match=r"lm-evaluation-harness: AttributeError: .*dance"):
        ask(task_of(tmp_path, "dance", ["q"]))
    (tmp_path / "t.yaml").write_text("{")
    with pytest.raises(StageError, match=r"--task .*t\.yaml: JSONDecodeError"):
        loaded_tasks([str(tmp_path / "t.yaml")])


def test_a_task_that_is_no_file_is_refused() -> None:
    """The tasks that come with the harness are of the hub's data sets."""
    with pytest.raises(StageError, match="--task mmlu: there is no such file"):
        loaded_tasks(["mmlu"])


@pytest.mark.parametrize("setting", [{"do_sample": True}, {"temperature": 0.7}, {"top_k": 5}])
def test_a_task_that_wants_sampled_answers_is_refused(setting: Mapping[str, Any]) -> None:
    """Its figure would be called by the task's name, and be another's."""
    [(name, value)] = setting.items()
    with pytest.raises(RunError, match=f"the task wants {name}={value} in generation_kwargs"):
        continued(Answering(), "q", {"until": ["."], **setting})  # type: ignore[arg-type]


@pytest.mark.skipif(INSTALLED, reason="the harness is installed here")
def test_without_the_harness_the_command_that_installs_it_is_named() -> None:
    """It is an extra."""
    with pytest.raises(RunError, match="lm-evaluation-harness is not installed") as refused:
        check_harness()
    assert refused.value.remedy == "pip install 'ovrecipe[tasks]'"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--chat",), "needs --task"),
        (("--limit", "3"), "needs --task"),
        (("--task", "t.yaml", "--tokens", "64"), "is of texts, and --task has its own"),
        (("--task", "t.yaml", "--data", "d.txt"), "is of texts, and --task has its own"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(
    ovrecipe: CommandLine, words: Sequence[str], message: str
) -> None:
    """Before anything is opened."""
    done = ovrecipe("evaluate", "m", *words)
    assert done.code == 2
    assert message in done.said


def manuals_task(folder: Path) -> Path:
    """Write the files that the manual shows; return the task."""
    page = (REPOSITORY / "docs" / "evaluating.md").read_text("utf-8")
    for name, language in (("capitals.yaml", "yaml"), ("capitals.jsonl", "json")):
        [text] = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        (folder / name).write_text(text)
    return folder / "capitals.yaml"


@pytest.mark.skipif(not INSTALLED, reason="the harness is no part of the tested versions")
@pytest.mark.filterwarnings("ignore")  # the harness's own, and of what it imports
def test_the_harness_asks_the_manuals_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's own file, its data set beside it, and no hub."""
    path = manuals_task(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    found = asked(loaded_tasks([str(path)]), Answering())  # type: ignore[arg-type]
    assert found["capitals"]["questions"] == 2
    assert found["capitals"]["acc"] == 0.5


@pytest.mark.model
@pytest.mark.usefixtures("stand_in")
def test_variants_stand_beside_each_other(
    smollm2_project: Any, ovrecipe: CommandLine, tmp_path: Path
) -> None:
    """On the real model, as a table and as JSON."""
    path = tmp_path / "t.yaml"
    question = ["The capital of France is", {"until": ["."], "max_gen_toks": 4}]
    path.write_text(json.dumps({"task": "t", "kind": "generate_until", "asked": [question]}))
    how = {"cwd": smollm2_project.root, "env": dict(smollm2_project.env)}
    words = ("evaluate", "smollm2-135m:int8", "--task", str(path))
    done = ovrecipe(*words, "--json", **how)
    assert done.code == 0, done.err
    [row] = json.loads(done.out)["evaluations"]
    assert (row["name"], row["variant"]) == ("smollm2-135m", "int8")
    assert row["tasks"]["t"]["said"] == float(len(" Paris"))
    table = ovrecipe(*words, **how)
    assert "smollm2-135m:int8" in table.out
    assert re.search(r"\bsaid\b +6\b", table.out)
