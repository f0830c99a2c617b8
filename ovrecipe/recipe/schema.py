"""The classes of a recipe file, section by section, with what the manual says of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_serializer, model_validator

from ovrecipe.errors import RecipeInvalid
from ovrecipe.recipe.assistants import Adapter, Draft, assistant_objections
from ovrecipe.recipe.compression import (
    GENERATED,
    PRECISIONS,
    CompressionPass,
    Precision,
    Share,
)
from ovrecipe.recipe.forms import FORMS, form_problems
from ovrecipe.recipe.sections import FileName, Listed, Mapped, Name, Objection, Section, Text, key
from ovrecipe.recipe.tasks import FIGURES, GENERATION, SECTIONS, TASKS, TaskName
from ovrecipe.recipe.yaml_reader import Loc, Node
from ovrecipe.version import __version__, fits

#: What Recipe has and no file says: a recipe is called what its file is called.
FROM_THE_FILE = ("name", "path")

_PATH_START = re.compile(r"^(\.{1,2}[/\\]|[/\\]|~|[A-Za-z]:[/\\])|^\.{1,2}$")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):(.+)$", re.DOTALL)
#: Source: validate_repo_id of huggingface_hub 1.x, in ASCII, which is all that the hub has.
_HUB_ID = re.compile(r"(?!.*(--|\.\.|\.git$))(\w([\w.-]*\w)?/)?\w([\w.-]{0,94}\w)?", re.ASCII)
#: Sources whose content is what lies on this machine, and what a message calls it.
UNVERSIONED = {
    "local": "a local folder",
    "gguf": "a GGUF file",
    "dist": "a file of an installed distribution",
}


def split_model_id(model_id: str) -> tuple[str, str]:
    """Return (scheme, location): who brings the checkpoint, and what it is asked for.

    A path starts with `./`, `../`, `/`, `~` or a Windows drive and is `gguf` when it ends in
    `.gguf`, else `local`; `SCHEME:rest` is a plugin's (or the built-in `dist`, `hub`, `local`,
    `gguf`); everything else is an id on the hub.
    """
    if _PATH_START.match(model_id):
        return ("gguf" if model_id.lower().endswith(".gguf") else "local"), model_id
    if match := _SCHEME.match(model_id):
        return match[1], match[2]
    return "hub", model_id


def model_id_objection(model_id: str) -> str | None:
    """Return what is wrong with the form of a model id; None when nothing is.

    Only ids on the hub have a form: a path may be anything, a plugin judges its own scheme.
    """
    scheme, location = split_model_id(model_id)
    if scheme != "hub" or _HUB_ID.fullmatch(location):
        return None
    return (
        f"'{model_id}' is no hub id, which is ORG/NAME or NAME in letters, digits, '_' and single "
        "'.' and '-', without '.git'; a local path starts with ./"
    )


#: How a file names a provider.
NAMED = "a name, or `{name: {option: value}}`"


class ProviderSpec(Section):
    """A provider and its options; in a file also `name` or `{name: {option: value}}`."""

    name: Text = Field(description="who does it")
    options: Mapped[str, Any] = key("its options", {})

    @model_validator(mode="before")
    @classmethod
    def _from_a_name(cls, entry: Any) -> Any:
        if isinstance(entry, str):
            return {"name": entry}
        if isinstance(entry, Mapping) and len(entry) == 1 and "name" not in entry:
            [(name, options)] = entry.items()
            return {"name": name, "options": options if options is not None else {}}
        return entry

    @model_serializer
    def _shortest(self) -> Any:
        return {self.name: dict(self.options)} if self.options else self.name


class Model(Section):
    """The checkpoint, and who reads it."""

    id: Text = Field(description="where the checkpoint is")
    revision: Text | None = key(
        "branch, tag or commit on the hub; resolved once to a commit, which `ovrecipe.lock` records"
    )
    trust_remote_code: bool = key("run Python code that the checkpoint brings", False)
    allow_pickle: bool = key("accept weights in pickle files, which can run code when read", False)
    exporter: ProviderSpec = key(f"who exports OpenVINO IR: {NAMED}", ProviderSpec(name="optimum"))
    toolchain: Name | None = key(
        "the environment that it exports in: a name of `ovrecipe toolchain list`, or `main`; "
        "chosen by the checkpoint's architecture without it"
    )

    def objections(self) -> Iterator[Objection]:
        """Yield what no source could look up."""
        if reason := model_id_objection(self.id):
            yield Objection(("id",), reason)
        kind = UNVERSIONED.get(split_model_id(self.id)[0])
        if kind is not None and self.revision is not None:
            reason = f"{kind} has no revisions; remove it (null where it is inherited)"
            yield Objection(("revision",), reason)


class Tokenizer(Section):
    """Who converts the checkpoint's tokenizer."""

    converter: ProviderSpec = key(f"who converts it: {NAMED}", ProviderSpec(name="openvino"))


class Prompt(Section):
    """How an instruction becomes the text that the model sees."""

    template: Text | None = key("text around `{instruction}`, and `{system}` if that is given")
    chat_template: Text | None = key("`model` (the checkpoint's) or Jinja; not with `template`")
    system: Text | None = key("the system message")
    add_special_tokens: bool = key("let the tokenizer add its BOS; most templates write it", False)
    special_tokens_in_text: bool = key(
        "read special tokens in messages; turns can be forged", False
    )
    stop: Listed[Text] = key("texts that end the answer and are not shown", ())

    def objections(self) -> Iterator[Objection]:
        """Yield what would not be asked, or not be seen by the model."""
        if self.template is None:
            return
        if self.chat_template is not None:
            yield Objection(("chat_template",), "stands beside 'template'; keep one of the two")
        if "{instruction}" not in self.template:
            yield Objection(("template",), "has no {instruction}, so no instruction would be asked")
        if self.system and "{system}" not in self.template:
            yield Objection(("system",), "the template has no {system}, so it would be ignored")
        if "{system}" in self.template and not self.system:
            yield Objection(("template",), "has {system}, but 'system' is not given")


#: The largest number that GenAI takes as a count of tokens.
LARGEST = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
AboveZero = Annotated[float, Field(gt=0)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
#: What GenAI only looks at while sampling.
SAMPLING = ("temperature", "top_p", "top_k", "min_p")


class GenerationParameters(Section):
    """Parameters of generation; an unset one keeps GenAI's (or the checkpoint's) value.

    Several answers at once and draft models are left out: nothing here streams or loads them.
    Source: openvino_genai.GenerationConfig, GenAI 2026.4.
    """

    max_new_tokens: Positive | None = key("most tokens to generate; 256 when nothing says a bound")
    min_new_tokens: Count | None = key("no end before so many tokens")
    max_length: Positive | None = key("most tokens of prompt and answer; `max_new_tokens` wins")
    do_sample: bool | None = key("sample; implied by `temperature`, `top_p`, `top_k` and `min_p`")
    temperature: AboveZero | None = key("above 0; higher is more random")
    top_p: Share | None = key("sample from the likeliest tokens that make up this probability")
    top_k: Count | None = key("sample from so many tokens; 0 switches it off")
    min_p: BelowOne | None = key("drop tokens less likely than this share of the likeliest")
    repetition_penalty: AboveZero | None = key("above 1 makes repeated tokens less likely")
    presence_penalty: Penalty | None = key("-2 to 2, for tokens that occurred")
    frequency_penalty: Penalty | None = key("-2 to 2, for each time a token occurred")
    no_repeat_ngram_size: Positive | None = key("no group of so many tokens twice")
    rng_seed: Count | None = key("seed of the sampling")
    ignore_eos: bool | None = key("go on after the end token")
    eos_token_id: Count | None = key("the end token")
    stop_strings: Listed[Text] | None = key("texts that end generation; `prompt.stop` is usual")
    stop_token_ids: Listed[Count] | None = key("tokens that end generation")
    include_stop_str_in_output: bool | None = key("keep the text that stopped it")
    num_beams: Positive | None = key("beams of a beam search; 1 is none")
    num_beam_groups: Positive | None = key("groups of beams")
    diversity_penalty: float | None = key("difference between groups of beams")
    length_penalty: float | None = key("above 0 prefers long answers of a beam search")
    stop_criteria: Literal["EARLY", "HEURISTIC", "NEVER"] | None = key(
        "`EARLY`, `HEURISTIC` or `NEVER`: when a beam search ends"
    )
    max_ngram_size: Positive | None = key("longest match of prompt lookup")
    echo: bool | None = key("return the prompt with the answer")
    json_schema: Mapped[str, Any] | None = key("JSON schema that every answer fits")
    regex: Text | None = key("regular expression that every answer matches")
    grammar: Text | None = key("grammar in EBNF, with a rule `root`, that every answer follows")

    def objections(self) -> Iterator[Objection]:
        """Yield what contradicts itself, or would be ignored."""
        if self.do_sample is False:
            reason = "means nothing with do_sample: false; remove it (null where it is inherited)"
            for name in SAMPLING:
                if getattr(self, name) is not None:
                    yield Objection((name,), reason)
        fewest, most = self.min_new_tokens, self.max_new_tokens
        if fewest is not None and most is not None and fewest > most:
            reason = f"{fewest} is above max_new_tokens, which is {most}"
            yield Objection(("min_new_tokens",), reason)
        for name, reason in form_problems(self.given()):
            yield Objection((name,), reason)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn: said, or implied by what only sampling reads."""
        implied = any(getattr(self, name) is not None for name in SAMPLING)
        return implied if self.do_sample is None else self.do_sample

    def given(self) -> dict[str, Any]:
        """Return the parameters that were given, by name."""
        return {name: value for name, value in self if value is not None}

    def overridden_by(self, own: GenerationParameters) -> GenerationParameters:
        """Return these parameters with `own` on top; a null in `own` takes one back.

        `do_sample: false` takes back what is only for sampling, and a parameter that is only for
        sampling takes back `do_sample: false`. A form of answers takes the place of another one.
        """
        gone = {name for name in own.model_fields_set if getattr(own, name) is None}
        if own.do_sample is False:
            gone |= {*SAMPLING}
        elif self.do_sample is False and own.given().keys() & SAMPLING:
            gone |= {"do_sample"}
        if own.given().keys() & FORMS:
            gone |= {*FORMS}
        kept = {name: value for name, value in self.given().items() if name not in gone}
        return GenerationParameters.model_construct(**{**kept, **own.given()})


class Vectors(Section):
    """How texts are read by a model that writes none; an unset key is as the checkpoint says."""

    query_instruction: str | None = key(
        'text in front of each query; `""` is none (default: the checkpoint\'s)'
    )
    document_instruction: str | None = key(
        'text in front of each document; `""` is none (default: the checkpoint\'s)'
    )
    max_length: Positive | None = key(
        "tokens of a text that are read, the rest is cut off (default: the checkpoint's)"
    )


class Embedding(Vectors):
    """How an embedding is made of what the model says of each token."""

    pooling: Literal["cls", "mean", "last_token"] | None = key(
        "`cls` (the first token), `mean` or `last_token` (default: the checkpoint's)"
    )
    normalize: bool | None = key(
        "bring embeddings to length 1 (default: the checkpoint's, else true)"
    )


class Rerank(Vectors):
    """How a query and a document are read as a pair."""


class Accept(Section):
    """How far a variant may be from its source."""

    mean_kl: Annotated[float, Field(gt=0)] | None = key(
        "most divergence from the source's next tokens (Kullback-Leibler), nats a token"
    )
    same_top: Annotated[float, Field(gt=0, le=1)] | None = key(
        "least share of places with the source's likeliest token"
    )
    perplexity_ratio: Annotated[float, Field(gt=0)] | None = key(
        "most perplexity, over the source's own"
    )
    cosine: Annotated[float, Field(gt=0, le=1)] | None = key(
        "least mean cosine between embeddings and the source's own"
    )
    score_difference: Annotated[float, Field(gt=0, le=1)] | None = key(
        "most mean difference of scores, 0 to 1, from the source's own"
    )
    size_ratio: Annotated[float, Field(gt=0)] | None = key(
        "most bytes of weights, over those of the base IR"
    )

    def over(self, below: Accept) -> Accept:
        """Return these limits, and those of `below` where none is given here."""
        return below.model_copy(update=self.given())

    def given(self) -> dict[str, float]:
        """Return the limits by name."""
        return {name: value for name, value in self if value is not None}


class Variant(CompressionPass):
    """One artifact of a recipe: `int4: {sym: true, group_size: 64, ratio: 0.6}`.

    Knobs written here are the only pass; a variant that needs several writes `passes`.
    """

    precision: Precision = Field(
        description="`fp16`, `int8`, `int4`, `nf4`, `cb4`, `mxfp4`, `mxfp8_e4m3`, `fp8_e4m3`, "
        "`fp4` or `nvfp4`"
    )
    optional: bool = key("build it only when it is named", False)
    passes: Listed[CompressionPass] = key("compressions in order, each of the knobs below", ())
    generation: GenerationParameters = key(
        "generation parameters of this variant; `null` takes one of the recipe's back",
        GenerationParameters(),
    )

    accept: Accept = key("limits of this variant, over those of the recipe", Accept())
    draft: Draft | None = key("the draft model of this variant")
    prompt_lookup: bool | None = key("`prompt_lookup` of this variant")

    def compression_passes(self) -> tuple[CompressionPass, ...]:
        """Return the passes to run over the base IR, in order; none for fp16."""
        if self.precision == "fp16" or self.passes:
            return self.passes
        knobs = {name: getattr(self, name) for name in CompressionPass.model_fields}
        return (CompressionPass.model_construct(self.model_fields_set & knobs.keys(), **knobs),)

    def objections(self) -> Iterator[Objection]:
        """Yield what contradicts itself; `null` says the same as leaving a key out."""
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        knobs = [name for name in CompressionPass.model_fields if name in given]
        if self.precision == "fp16":
            for name in (*knobs, *(["passes"] if self.passes else [])):
                yield Objection((name,), "an fp16 variant is not compressed; remove it")
            return
        if self.passes:
            for name in knobs:
                yield Objection((name,), "stands beside 'passes'; put it into one of them")
        modes = [one.mode_for(self.precision) for one in self.passes or (self,)]
        if self.precision not in [re.sub("_a?sym$", "", mode) for mode in modes]:
            reason = f"gives {', '.join(modes)}, but the precision is {self.precision}"
            yield Objection(("passes",) if self.passes else ("mode",), reason)


class Output(Section):
    """What happens to the text between the model and the user."""

    filters: Listed[ProviderSpec] = key(f"filters that the text passes, in order: {NAMED}", ())


class Check(Section):
    """What a built variant must pass besides ovrecipe's own gates."""

    evaluators: Listed[ProviderSpec] = key(f"who judges, in order: {NAMED}", ())


class Requires(Section):
    """What must be installed for the recipe to mean what it says."""

    ovrecipe: Text | None = key('versions of ovrecipe, as `">=0.1,<1"`')
    plugins: Mapped[Text, str] = key(
        'versions of plugin distributions, as `{ovrecipe-awq: ">=0.2"}`; `""` is any', {}
    )

    def objections(self) -> Iterator[Objection]:
        """Yield the versions that cannot be read."""
        wanted: dict[Loc, str] = {("plugins", name): text for name, text in self.plugins.items()}
        if self.ovrecipe is not None:
            wanted["ovrecipe",] = self.ovrecipe
        for keys, specifier in wanted.items():
            try:
                fits(__version__, specifier)
            except ValueError:  # packaging's InvalidSpecifier
                yield Objection(keys, f"must be versions like '>=1.2,<2', got '{specifier}'")


class Recipe(Section):
    """One model, its prompt, and the variants to build from it."""

    name: FileName
    path: Path
    extends: FileName | None = key("the recipe in the same folder that this one is laid over")
    description: Text | None = key("one line for people")
    requires: Requires = key("what must be installed", Requires())
    task: TaskName = key(
        "what the model does: `text-generation`, `text-embedding` or `text-rerank`", GENERATION
    )
    model: Model = Field(description="the checkpoint")
    tokenizer: Tokenizer = key("who converts the tokenizer", Tokenizer())
    prompt: Prompt = key("how an instruction becomes the text that the model sees", Prompt())
    variants: Annotated[Mapped[FileName, Variant], Field(min_length=1)] = Field(
        description="what to build; at least one"
    )
    generation: GenerationParameters = key("parameters of generation", GenerationParameters())
    embedding: Embedding = key("how an embedding is made, of a `text-embedding`", Embedding())
    rerank: Rerank = key("how pairs are read, of a `text-rerank`", Rerank())
    accept: Accept = key("how far each variant may be from its source", Accept())
    check: Check = key("what a built variant must pass besides ovrecipe's own gates", Check())
    draft: Draft | None = key("a model that writes ahead, for all variants but itself")
    prompt_lookup: bool = key("write ahead what the prompt goes on with; not with `draft`", False)
    adapters: Mapped[FileName, Adapter] = key("LoRA adapters by name", {})
    output: Output = key("what happens to the text before it is shown", Output())
    plugins: Mapped[Name, Any] = key("settings of plugins by name; each checks its own", {})
    _tree: Node | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Keep the tree that the recipe was read from, if it was given as context."""
        self._tree = (context or {}).get("tree")

    @field_validator("variants", mode="before")
    @classmethod
    def _precision_from_the_name(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        variants = {name: {} if variant is None else variant for name, variant in value.items()}
        for name, variant in variants.items():
            precision = str(name).split("-", maxsplit=1)[0]
            if isinstance(variant, Mapping) and precision in PRECISIONS:
                variants[name] = {"precision": precision, **variant}
        return variants

    def objections(self) -> Iterator[Objection]:
        """Yield what is not of the task, and what of a variant's generation contradicts it."""
        for keys in self._of_other_tasks():
            reason = f"means nothing to a model that {TASKS[self.task].does}; remove it"
            yield Objection(keys, f"{reason} (the task is {self.task})")
        for name in self.variants:
            for objection in self.generation_of(name).objections():
                yield Objection(("variants", name, "generation", *objection.keys), objection.reason)
        yield from assistant_objections(self)

    def _of_other_tasks(self) -> Iterator[Loc]:
        """Yield where something is written that only other tasks have."""
        task = TASKS[self.task]
        foreign, figures = SECTIONS - task.sections, FIGURES - task.figures
        yield from ((name,) for name in sorted(foreign) if _is_said(getattr(self, name)))
        yield from (("accept", name) for name in sorted(self.accept.given().keys() & figures))
        for name, variant in self.variants.items():
            where = ("variants", name)
            own = sorted(foreign & VARIANTS_OWN)
            yield from ((*where, key) for key in own if _is_said(getattr(variant, key)))
            given = variant.accept.given().keys() & figures
            yield from ((*where, "accept", figure) for figure in sorted(given))
            for number, one in enumerate(variant.compression_passes()):
                if one.dataset == GENERATED and "generation" in foreign:
                    yield (*self.pass_loc(name, number), "dataset")

    @property
    def tree(self) -> Node | None:
        """What the file says, with the place of each value; None for a recipe of no file."""
        return self._tree

    @property
    def recipe_dir(self) -> Path:
        """The folder that relative paths in the recipe start from."""
        return self.path.parent

    def default_variants(self) -> tuple[str, ...]:
        """Return the variants that are built when none is named."""
        return tuple(name for name, variant in self.variants.items() if not variant.optional)

    def pass_loc(self, variant: str, number: int) -> Loc:
        """Return where a compression pass is written."""
        inner = ("passes", number) if self.variants[variant].passes else ()
        return ("variants", variant, *inner)

    def generation_of(self, variant: str) -> GenerationParameters:
        """Return the recipe's generation parameters with the variant's own on top."""
        return self.generation.overridden_by(self.variants[variant].generation)

    def draft_of(self, variant: str) -> Draft | None:
        """Return who writes ahead of a variant; nobody does of itself."""
        draft = self.variants[variant].draft or self.draft
        return None if draft is None or draft.recipe == f"{self.name}:{variant}" else draft

    def prompt_lookup_of(self, variant: str) -> bool:
        """Return whether a variant writes ahead what its prompt goes on with."""
        own = self.variants[variant].prompt_lookup
        return self.prompt_lookup if own is None else own

    def accept_of(self, variant: str) -> Accept:
        """Return the recipe's limits with the variant's own on top."""
        return self.variants[variant].accept.over(self.accept)


#: What of a variant is said beside its compression.
APART = {"optional", "generation", "accept", "draft", "prompt_lookup"}
#: The sections that a variant may have of its own.
VARIANTS_OWN = frozenset({"generation", "draft", "prompt_lookup"})
#: The settings that only some directories have.
OF_SOME = ("draft", "prompt_lookup", "adapters")


def settings_of(recipe: Recipe, variant: str) -> dict[str, Any]:
    """Return, as JSON, all that the recipe says of a variant's directory.

    It is part of the directory's key, and so of its manifest: whoever opens the directory can tell
    whether the recipe still says the same. What comes after it (`output`, `check`,
    `accept`) is not in it.
    """
    draft = recipe.draft_of(variant)
    adapters = {name: _said(adapter) for name, adapter in recipe.adapters.items()}
    said = {
        **({"draft": _said(draft)} if draft is not None else {}),
        **({"prompt_lookup": True} if recipe.prompt_lookup_of(variant) else {}),
        **({"adapters": adapters} if adapters else {}),
        "model": _said(recipe.model),
        "tokenizer": _said(recipe.tokenizer),
        "prompt": _said(recipe.prompt),
        "variant": _said(recipe.variants[variant], exclude=APART),
        "generation": _said(recipe.generation_of(variant)),
    }
    return said | _of_task(recipe)


def check_task(recipe: Recipe, *tasks: TaskName) -> None:
    """Refuse a recipe whose model does something else than what was asked of it.

    Raises:
        RecipeInvalid: with the command that runs such a model.
    """
    if recipe.task not in tasks:
        own = TASKS[recipe.task]
        asked = " or ".join(TASKS[name].does for name in tasks)
        raise RecipeInvalid(
            f"{recipe.name} {own.does} (task: {own.name}); this needs a model that {asked}",
            remedy=f"such a model is run by 'ovrecipe {own.command} {recipe.name}'",
        )


def task_field(recipe: Recipe) -> dict[str, Any]:
    """Return what a key says of the task; nothing of the one that was there before all others."""
    return {} if recipe.task == GENERATION else {"task": recipe.task}


def _of_task(recipe: Recipe) -> dict[str, Any]:
    """Return what only tasks beside text generation have."""
    sections = {"embedding": recipe.embedding, "rerank": recipe.rerank}
    said = {name: _said(section) for name, section in sections.items()}
    return task_field(recipe) | {name: section for name, section in said.items() if section}


def _is_said(value: object) -> bool:
    return bool(_said(value) if isinstance(value, Section) else value)


def _said(section: Section, exclude: set[str] | None = None) -> dict[str, Any]:
    # Without defaults, so that a key that a later version adds makes nothing stale.
    return section.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude)
