"""The built-in tokenizer converter: transformers' tokenizer to an OpenVINO pair.

As optimum-cli does for text generation, padding and truncation are on the left. In three things
it differs on purpose:

- A conversion that fails is an error, not a line in a log; so is a missing detokenizer.
- `tokenizer.json` is taken as it is. The classes that AutoTokenizer picks in transformers 5 build
  some tokenizers anew: LlamaTokenizer loses the second of two leading spaces, and turns the
  byte-level tokens of a checkpoint that names it by mistake into nonsense.
- The detokenizer gives the text of the tokens. Cleaning up spaces ("a , b" to "a, b") is from the
  days of WordPiece and damages code.
"""

from pathlib import Path
from typing import Any

from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.hooks.roles import ConversionJob


class OpenvinoTokenizerConverter:
    """Converts with openvino_tokenizers."""

    packages = ("openvino", "openvino-tokenizers", "transformers", "tokenizers")
    needs_torch = False

    def convert(self, job: ConversionJob) -> None:
        """Write the pair and the tokenizer's own files.

        Raises:
            StageError: why it cannot.
        """
        from openvino import save_model
        from openvino_tokenizers import convert_tokenizer

        job.progress("reading the tokenizer")
        tokenizer = _read(job.checkpoint_dir, trust_remote_code=job.model.trust_remote_code)
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


def _read(checkpoint_dir: Path, *, trust_remote_code: bool) -> Any:
    """Return transformers' tokenizer of a checkpoint, set up for text generation."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    is_whole = (checkpoint_dir / "tokenizer.json").is_file()
    reader = PreTrainedTokenizerFast if is_whole else AutoTokenizer
    remote = {} if is_whole else {"trust_remote_code": trust_remote_code}
    remedy = "check tokenizer.json and tokenizer_config.json in the model's checkpoint"
    doing = f"transformers cannot read the tokenizer of {checkpoint_dir}"
    with foreign_errors(doing, remedy=remedy):
        return reader.from_pretrained(
            checkpoint_dir,
            local_files_only=True,
            padding_side="left",
            truncation_side="left",
            clean_up_tokenization_spaces=False,
            **remote,
        )
