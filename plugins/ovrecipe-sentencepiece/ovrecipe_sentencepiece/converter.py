"""The provider that ovrecipe calls: a checkpoint's SentencePiece model to an OpenVINO pair."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import CheckpointIncomplete, StageError

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import ConversionJob

#: Where checkpoints keep the model that SentencePiece trained.
MODEL_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
WRITTEN_AS = "tokenizer.model"


class SentencePieceConverter:
    """Converts with openvino_tokenizers' SentencePiece backend."""

    packages: Sequence[str] = (
        "openvino", "openvino-tokenizers", "sentencepiece", "transformers", "tokenizers",
    )  # fmt: skip
    version = 1

    def convert(self, job: ConversionJob) -> None:
        """Write the pair, the SentencePiece model and the tokenizer's own files.

        Raises:
            CheckpointIncomplete: there is no SentencePiece model.
            StageError: it cannot be read, or has no OpenVINO form.
        """
        from openvino import save_model

        from ovrecipe_sentencepiece.pair import converted_pair

        path = sentencepiece_file(job.checkpoint_dir, model_id=job.model.id)
        job.progress("reading the tokenizer")
        _check(path)
        tokenizer = load_tokenizer(job.checkpoint_dir, path, trust=job.model.trust_remote_code)
        tokenizer.save_pretrained(job.output_dir)
        job.progress("converting the SentencePiece model")
        tokenizer_model, detokenizer_model = converted_pair(tokenizer)
        save_model(tokenizer_model, job.output_dir / "openvino_tokenizer.xml")
        save_model(detokenizer_model, job.output_dir / "openvino_detokenizer.xml")


def sentencepiece_file(checkpoint_dir: Path, *, model_id: str) -> Path:
    """Return the checkpoint's SentencePiece model.

    Raises:
        CheckpointIncomplete: there is none.
    """
    paths = (checkpoint_dir / name for name in MODEL_FILES)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise CheckpointIncomplete(
            f"{model_id} has no SentencePiece model ({', '.join(MODEL_FILES)}), which "
            "'tokenizer.converter: sentencepiece' converts",
            remedy="leave tokenizer.converter out of the recipe: the built-in converter reads "
            "tokenizer.json",
        )
    return path


def load_tokenizer(checkpoint_dir: Path, path: Path, *, trust: bool) -> Any:
    """Return transformers' tokenizer, made to carry the SentencePiece model with it.

    `tokenizer.json` is read as it is: the classes of transformers 5 build some tokenizers anew.

    Raises:
        StageError: transformers cannot read the files.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    whole = (checkpoint_dir / "tokenizer.json").is_file()
    reader = PreTrainedTokenizerFast if whole else AutoTokenizer
    remote = {} if whole else {"trust_remote_code": trust}
    try:
        tokenizer = reader.from_pretrained(
            checkpoint_dir,
            local_files_only=True,
            padding_side="left",
            truncation_side="left",
            clean_up_tokenization_spaces=False,
            **remote,
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as exc:
        raise StageError(
            f"transformers cannot read the tokenizer of {checkpoint_dir}: {exc}",
            remedy="check tokenizer.json and tokenizer_config.json in the model's checkpoint",
        ) from exc
    return _carrying(tokenizer, path)


def _carrying(tokenizer: Any, path: Path) -> Any:
    """Make a tokenizer save the model too.

    In transformers 5 it does not any more. openvino_tokenizers looks for the file among what is
    saved; without it, `use_sentencepiece_backend=True` silently converts something else.
    """
    own = type(tokenizer)
    names = {**own.vocab_files_names, "vocab_file": WRITTEN_AS}

    class Carrying(own):  # type: ignore[misc, valid-type]
        vocab_files_names = names

        def save_pretrained(self, save_directory: Any, *args: Any, **options: Any) -> Any:
            written = super().save_pretrained(save_directory, *args, **options)
            shutil.copyfile(path, f"{save_directory}/{WRITTEN_AS}")
            return written

    Carrying.__name__ = own.__name__
    tokenizer.__class__ = Carrying
    return tokenizer


def _check(path: Path) -> None:
    import sentencepiece

    try:
        sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as exc:
        raise StageError(
            f"{path} is not a SentencePiece model: {str(exc).strip().splitlines()[0]}",
            remedy="fetch the checkpoint again; a Git LFS pointer in its place is a common reason",
        ) from exc
