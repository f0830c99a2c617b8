"""Calibration data for NNCF's data-aware methods: texts as inputs of the stateful model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.compressors.dataset_file import read_texts
from ovrecipe.builtin.compressors.ir import read_ir
from ovrecipe.builtin.compressors.settings import DEFAULT_NUM_SAMPLES
from ovrecipe.builtin.foreign import foreign_errors
from ovrecipe.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import CompressionJob

#: Longer samples are cut: activations of every layer are held for the whole sequence.
MAX_TOKENS = 512
KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "position_ids", "beam_idx"})


def calibration_samples(job: CompressionJob) -> list[dict[str, Any]]:
    """Return the samples of a pass as inputs of its model.

    Raises:
        StageError: the data set is unusable, or the model takes inputs that text does not give.
    """
    model = read_ir(job.input_dir)
    names = {port.get_any_name() for port in model.inputs}
    if unknown := names - KNOWN_INPUTS:
        raise StageError(
            f"the model takes {', '.join(sorted(unknown))}, which a data set of texts cannot give",
            remedy="use data-free knobs for this model",
        )
    return [model_inputs(ids, names) for ids in _token_ids(job)]


def _token_ids(job: CompressionJob) -> list[list[int]]:
    """Return the samples as token ids: the user's texts, or what the model itself writes."""
    wanted = job.compression.num_samples
    if job.dataset_path is None:
        from ovrecipe.builtin.compressors.generated import generated_ids

        return generated_ids(job.base_dir, wanted or DEFAULT_NUM_SAMPLES, job.progress)
    texts = read_texts(job.dataset_path, at_most=wanted or DEFAULT_NUM_SAMPLES)
    if wanted is not None and len(texts) < wanted:
        raise StageError(
            f"data set {job.dataset_path.name} has {len(texts)} samples, "
            f"'num_samples' asks for {wanted}",
            remedy="add samples, or lower num_samples",
        )
    return _tokenized(job, texts)


def _tokenized(job: CompressionJob, texts: Sequence[str]) -> list[list[int]]:
    if job.tokenizer_dir is None:
        raise StageError("a data set of texts needs the converted tokenizer, and none was given")
    job.progress("tokenizing the data set")
    with foreign_errors("tokenizing the data set"):
        import openvino_genai

        tokenizer = openvino_genai.Tokenizer(str(job.tokenizer_dir))
        found = [tokenizer.encode(each).input_ids.data[0][:MAX_TOKENS].tolist() for each in texts]
    return [ids for ids in found if ids]


def model_inputs(ids: Sequence[int], names: frozenset[str] | set[str]) -> dict[str, Any]:
    """Return one sequence as the inputs that the model has; shapes (1, tokens)."""
    import numpy as np

    tokens = np.array([ids], np.int64)
    inputs = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.arange(tokens.shape[1], dtype=np.int64)[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    return {name: value for name, value in inputs.items() if name in names}
