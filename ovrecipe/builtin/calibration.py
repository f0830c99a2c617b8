"""Calibration data for NNCF's data-aware methods: texts as inputs of the stateful model."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ovrecipe.builtin.ir import MODEL_INPUTS, StatefulModel, model_inputs, read_ir
from ovrecipe.builtin.nncf_once import file_name, one_at_a_time, read_arrays, write_arrays
from ovrecipe.builtin.nncf_rules import DEFAULT_NUM_SAMPLES
from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.types import Progress

#: Longer samples are cut: activations of every layer are held for the whole sequence.
MAX_TOKENS = 512
SEED = 42
GREEDY_TOKENS = 16
SAMPLED_TOKENS = 32
BATCH = 16
#: A sequence with fewer different tokens is a loop and calibrates nothing.
FEWEST_DIFFERENT = 5
#: What is read of a file at once: a line that is longer is none.
LONGEST_LINE = 16_000_000
#: How many sequences are tried for each that is wanted.
TRIES = 4
#: What texts of the model depend on beside it; the first is raised when it would write others.
WRITTEN_WITH = (1, SEED, GREEDY_TOKENS, SAMPLED_TOKENS, BATCH, FEWEST_DIFFERENT, TRIES)


def calibration_samples(job: CompressionJob) -> list[dict[str, Any]]:
    """Return the samples of a pass as inputs of its model.

    Raises:
        StageError: the data set is unusable, or the model takes inputs that text does not give.
    """
    names = {port.get_any_name() for port in read_ir(job.input_dir).inputs}
    if unknown := names - MODEL_INPUTS:
        message = f"the model takes {', '.join(sorted(unknown))}, which texts cannot give"
        raise StageError(message, remedy="use data-free knobs for this model")
    return [model_inputs([ids], names) for ids in _token_ids(job)]


def _token_ids(job: CompressionJob) -> list[list[int]]:
    """Return the samples as token ids: the user's texts, or what the model itself writes."""
    asked, path = job.compression.num_samples, job.dataset_path
    wanted = asked or DEFAULT_NUM_SAMPLES
    if path is None:
        return _written_once(job, wanted)
    texts = read_texts(path, at_most=wanted)
    if asked is not None and len(texts) < asked:
        message = f"data set {path.name} has {len(texts)} samples, 'num_samples' asks for {asked}"
        raise StageError(message, remedy="add samples, or lower num_samples")
    if job.tokenizer_dir is None:
        raise StageError("a data set of texts needs the converted tokenizer, and none was given")
    job.progress("tokenizing the data set")
    with foreign_errors("tokenizing the data set"):
        import openvino_genai

        tokenizer = openvino_genai.Tokenizer(str(job.tokenizer_dir))
        found = [tokenizer.encode(text).input_ids.data[0][:MAX_TOKENS].tolist() for text in texts]
    return [ids for ids in found if ids]


def _written_once(job: CompressionJob, wanted: int) -> list[list[int]]:
    """Return what `generated_ids` does, from the cache if a pass over this base asked before."""
    import numpy as np

    if job.cache_dir is None:
        return generated_ids(job.base_dir, wanted, job.progress)
    path = job.cache_dir / file_name("texts", *WRITTEN_WITH, wanted)
    job.progress("looking for calibration text written before")
    with one_at_a_time(job.cache_dir):
        kept = read_arrays(path)
        if kept is not None:
            ids: list[list[int]] = kept[0].tolist()
            return ids
        ids = generated_ids(job.base_dir, wanted, job.progress)
        write_arrays(path, [np.asarray(ids)])
    return ids


def read_texts(path: Path, *, at_most: int) -> list[str]:
    """Return the first texts of a `.jsonl` or `.txt` file, in its order, as `each_text` does.

    Raises:
        StageError: the file cannot be used.
    """
    return list(islice(each_text(path), at_most))


def each_text(path: Path) -> Iterator[str]:
    """Yield the texts of a `.jsonl` or `.txt` file in its order; blank lines are skipped.

    A file larger than memory is read only as far as texts are taken.

    Raises:
        StageError: the file cannot be read, is not UTF-8, holds a line without a text or one that
            is too long, or no text at all; the message names the line.
    """
    found = False
    try:
        with path.open("rb") as stream:
            lines = iter(partial(stream.readline, LONGEST_LINE + 1), b"")
            for number, raw in enumerate(lines, start=1):
                if text := _text_of(raw, path, number):
                    found = True
                    yield text
    except OSError as error:
        reason = error.strerror or str(error)
        raise StageError(f"data set {path.name} cannot be read: {reason}") from error
    if not found:
        raise StageError(f"data set {path.name} has no text", remedy="write one sample a line")


def _text_of(raw: bytes, path: Path, number: int) -> str:
    """Return the text of one line, nothing for a blank one."""
    where = f"{path.name}:{number}"
    if b"\0" in raw:
        raise StageError(f"{where}: binary data, no text", remedy="give a .txt or .jsonl file")
    if len(raw) > LONGEST_LINE:
        message = f"{where}: a line of more than {LONGEST_LINE // 10**6} MB"
        raise StageError(message, remedy="write one sample a line")
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        message = f"{where}: not UTF-8 (byte {error.start + 1} of the line)"
        raise StageError(message, remedy="save the data set as UTF-8") from error
    if path.suffix != ".jsonl" or not line:
        return line
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StageError(f"{where}: not JSON: {error}") from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        remedy = 'each line is {"text": "..."} or a JSON string'
        raise StageError(f"{where}: no text in it", remedy=remedy)
    return text


def generated_ids(ir_dir: Path, num_samples: int, progress: Progress) -> list[list[int]]:
    """Return `num_samples` sequences that the model writes; the same IR gives the same ones.

    Raises:
        StageError: the model mostly repeats itself.
    """
    import numpy as np

    progress("compiling the base IR to generate calibration text")
    with foreign_errors("generating calibration text"):
        model, random = StatefulModel(ir_dir), np.random.default_rng(SEED)
        # Evenly spread first tokens, then those beside them as replacements.
        step = max(1, model.vocabulary_size // num_samples)
        spread = step * np.arange(num_samples)
        starts = np.concatenate([spread + shift for shift in range(TRIES)]) % model.vocabulary_size
        found: list[list[int]] = []
        for begin in range(0, len(starts), BATCH):
            batch = _written(model, starts[begin : begin + BATCH], random)
            found += [ids for ids in batch if len(set(ids)) >= FEWEST_DIFFERENT]
            progress("generating calibration text", done=len(found), total=num_samples)
            if len(found) >= num_samples:
                return found[:num_samples]
    message = f"the model wrote {len(found)} usable texts of the {num_samples} wanted; it loops"
    raise StageError(message, remedy="give a data set of your own")


def _written(model: StatefulModel, starts: Any, random: Any) -> list[list[int]]:
    """Return the continuations of a batch of first tokens, without these."""
    import numpy as np

    model.forget()
    tokens = starts[:, None]
    written = []
    for position in range(GREEDY_TOKENS + SAMPLED_TOKENS):
        logits = model.logits(tokens)[:, -1]
        if position >= GREEDY_TOKENS:
            # Noise of this kind makes the largest a draw from the distribution (Gumbel-max).
            logits = logits + random.gumbel(size=logits.shape)
        tokens = logits.argmax(-1)[:, None]
        written.append(tokens)
    found: list[list[int]] = np.concatenate(written, axis=1).tolist()
    return found
