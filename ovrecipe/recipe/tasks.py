"""What models do: the tasks that a recipe may name, and what each makes of its sections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

TaskName: TypeAlias = Literal["text-generation", "text-embedding", "text-rerank"]
GENERATION: Final = "text-generation"
EMBEDDING: Final = "text-embedding"
RERANK: Final = "text-rerank"


@dataclass(frozen=True)
class Task:
    """One kind of work, and what a recipe says of it.

    `does` is a sentence's verb, `command` the one that runs such a model. Of a recipe's `sections`
    and of the figures that it may `accept`, these are the ones that not every task has.
    """

    name: TaskName
    does: str
    command: str
    sections: frozenset[str]
    figures: frozenset[str]


#: A new task is a line here, what stands for a stage in `build/stages`, and who runs it in `run`.
TASKS: Mapping[TaskName, Task] = {
    task.name: task
    for task in (
        Task(
            GENERATION,
            does="writes text",
            command="run",
            sections=frozenset(
                {"prompt", "generation", "output", "check", "draft", "prompt_lookup", "adapters"}
            ),
            figures=frozenset({"mean_kl", "same_top", "perplexity_ratio"}),
        ),
        Task(
            EMBEDDING,
            does="embeds texts",
            command="embed",
            sections=frozenset({"embedding"}),
            figures=frozenset({"cosine"}),
        ),
        Task(
            RERANK,
            does="scores texts for a query",
            command="rerank",
            sections=frozenset({"rerank"}),
            figures=frozenset({"score_difference"}),
        ),
    )
}
SECTIONS = frozenset[str]().union(*(task.sections for task in TASKS.values()))
FIGURES = frozenset[str]().union(*(task.figures for task in TASKS.values()))
