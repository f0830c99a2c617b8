"""The built-in tokenizer converter: transformers' tokenizer to an OpenVINO pair.

As optimum-cli does for text generation, padding and truncation are on the left; for models that
only read, on the right. In three things it differs on purpose:

- A conversion that fails is an error, not a line in a log; so is a missing detokenizer.
- `tokenizer.json` is taken as it is. The classes that AutoTokenizer picks in transformers 5 build
  some tokenizers anew: LlamaTokenizer loses the second of two leading spaces, and turns the
  byte-level tokens of a checkpoint that names it by mistake into nonsense.
- The detokenizer gives the text of the tokens. Cleaning up spaces ("a , b" to "a, b") is from the
  days of WordPiece and damages code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.hooks.roles import ConversionJob
from ovrecipe.json_files import TOKENIZER_CONFIG, read_object
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TaskName


class Setup(NamedTuple):
    """On which side texts are padded and cut, and whether types of tokens are told."""

    side: str
    types: bool


TASKS: Mapping[TaskName, Setup] = {
    GENERATION: Setup("left", types=False),
    EMBEDDING: Setup("right", types=True),
    RERANK: Setup("right", types=True),
}


class OpenvinoTokenizerConverter:
    """Converts with openvino_tokenizers."""

    packages = ("openvino", "openvino-tokenizers", "transformers", "tokenizers")
    needs_torch = False
    tasks = tuple(TASKS)

    def convert(self, job: ConversionJob) -> None:
        """Write the pair and the tokenizer's own files.

        Raises:
            StageError: why it cannot.
        """
        from openvino import save_model
        from openvino_tokenizers import convert_tokenizer

        job.progress("reading the tokenizer")
        tokenizer = _read(job.checkpoint_dir, job)
        tokenizer.save_pretrained(job.output_dir)
        job.progress("converting the tokenizer")
        kind = type(tokenizer).__name__
        remedy = "use the model's original tokenizer files, or a plugin's tokenizer.converter"
        with foreign_errors(f"openvino_tokenizers cannot convert {kind}", remedy=remedy):
            pair = convert_tokenizer(
                tokenizer, with_detokenizer=True, clean_up_tokenization_spaces=False
            )
        if not isinstance(pair, tuple):
            raise StageError(f"openvino_tokenizers has no detokenizer for {kind}")
        for model, name in zip(pair, ("openvino_tokenizer", "openvino_detokenizer"), strict=True):
            save_model(model, job.output_dir / f"{name}.xml")


def _read(checkpoint_dir: Path, job: ConversionJob) -> Any:
    """Return transformers' tokenizer of a checkpoint, set up for its task."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    is_whole = (checkpoint_dir / "tokenizer.json").is_file()
    reader = PreTrainedTokenizerFast if is_whole else AutoTokenizer
    trusted = {"trust_remote_code": job.model.trust_remote_code}
    setup = TASKS[job.recipe.task]
    types = {"model_input_names": input_names(checkpoint_dir)} if setup.types else {}
    more = types if is_whole else trusted
    remedy = "check tokenizer.json and tokenizer_config.json in the model's checkpoint"
    doing = f"transformers cannot read the tokenizer of {checkpoint_dir}"
    with foreign_errors(doing, remedy=remedy):
        return reader.from_pretrained(
            checkpoint_dir,
            local_files_only=True,
            padding_side=setup.side,
            truncation_side=setup.side,
            clean_up_tokenization_spaces=False,
            **more,
        )


def input_names(checkpoint_dir: Path) -> list[str]:
    """Return what the tokenizer gives its model: as its file says, else as its class does.

    The class that reads `tokenizer.json` itself knows nothing of the types of tokens, by which
    BERT tells the texts of a pair apart.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    config = read_object(checkpoint_dir / TOKENIZER_CONFIG, error=StageError)
    named = tokenizer_class_from_name(str(config.get("tokenizer_class")))
    names = (named or PreTrainedTokenizerFast).model_input_names
    return list(config.get("model_input_names", names))
