"""The compressor `nncf`: every mode and method of `nncf.compress_weights`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.ir import read_ir, save_ir, weight_facts
from ovrecipe.builtin.nncf_rules import group_size_problems, nncf_arguments
from ovrecipe.errors import foreign_errors

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence

    from ovrecipe.hooks.roles import CompressionJob, WeightShape
    from ovrecipe.recipe.compression import CompressionPass
    from ovrecipe.types import Json, Progress


class NncfLog:
    """Keeps NNCF's messages, and which progress bars it showed."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str]] = []
        self.bars: list[str] = []

    def note(self, record: logging.LogRecord) -> bool:
        """Keep one message, as a logger's filter, and let it pass."""
        self.messages.append((record.levelno, record.getMessage()))
        return True

    def facts(self, compression: CompressionPass) -> dict[str, Json]:
        """Return `warning`: what was asked for and not done, and NNCF's own warnings.

        AWQ that finds no layer to work on ends before its progress bar, and says so at most at
        level info.
        """
        from logging import WARNING

        lines = [text for level, text in self.messages if level >= WARNING]
        if compression.awq and not any("AWQ" in each for each in self.bars):
            lines.insert(0, "awq matched no layer of this model and changed nothing")
        return {"warning": "\n".join(lines)} if lines else {}


@contextmanager
def nncf_reports(progress: Progress) -> Iterator[NncfLog]:
    """Report NNCF's progress to `progress` and collect its messages, until the block ends."""
    from nncf.common.logging import nncf_logger
    from nncf.common.logging.track_progress import track

    log = NncfLog()
    nncf_logger.addFilter(log.note)
    drawn = track.__iter__
    track.__iter__ = lambda bar: reported(bar, progress, log)
    try:
        yield log
    finally:
        track.__iter__ = drawn
        nncf_logger.removeFilter(log.note)


def reported(bar: Any, progress: Progress, log: NncfLog) -> Iterator[Any]:
    """Iterate as an NNCF progress bar does; its steps count by weight where it has weights."""
    log.bars.append(bar.description)
    weights = bar.weights
    total = bar.total
    if total is None and hasattr(bar.sequence, "__len__"):
        total = len(bar.sequence)
    done = 0.0
    progress(bar.description, done=done, total=total)
    for index, item in enumerate(bar.sequence):
        yield item
        done += weights[index] if weights is not None else 1
        progress(bar.description, done=done, total=total)


KV_CACHE_PRECISION = ["runtime_options", "KV_CACHE_PRECISION"]


class NncfCompressor:
    """Compresses an IR as optimum-cli would, from a base that was exported once.

    Unset knobs are those of `optimum-cli export openvino --weight-format`, so equal options give
    an `openvino_model.bin` that is equal byte for byte. NNCF's statistics cache is not used: it
    does not notice that the data set changed.
    """

    packages = ("nncf", "openvino")
    version = 1
    needs_torch = False

    def problems(
        self, compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
    ) -> Sequence[str]:
        """Return the weights whose channels the group size does not divide."""
        return group_size_problems(compression, precision, shapes)

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write the compressed IR; facts are the bits used, and a warning where NNCF was quiet.

        Raises:
            StageError: NNCF refused, or the data set cannot be used.
        """
        job.progress("importing nncf")
        with foreign_errors("importing nncf", remedy="pip install 'ovrecipe[build]'"):
            import nncf
        arguments = nncf_arguments(job.compression, job.precision)
        if job.compression.dataset is not None:
            arguments |= _data_arguments(job)
        model = read_ir(job.input_dir)
        with foreign_errors("nncf"), nncf_reports(job.progress) as log:
            compressed = nncf.compress_weights(model, **arguments)
        mark_compressed(compressed, nncf.__version__)
        job.progress("writing the compressed IR")
        save_ir(compressed, job.output_dir, source_dir=job.input_dir)
        return {**weight_facts(compressed), **log.facts(job.compression)}


def _data_arguments(job: CompressionJob) -> dict[str, Any]:
    """Return the data set and its size; asking NNCF for more samples would make it warn."""
    import nncf

    from ovrecipe.builtin.calibration import calibration_samples

    samples = calibration_samples(job)
    return {"dataset": nncf.Dataset(samples), "subset_size": len(samples)}


def mark_compressed(model: Any, nncf_version: str) -> None:
    """Write into the IR what optimum-intel writes after compressing.

    The base asks the runtime for an f16 KV cache, to be compared with at full precision. On a
    compressed model that flag would keep the cache at f16 as well, so it is removed.

    Source: _weight_only_quantization of optimum-intel 2.2.
    """
    if model.has_rt_info(KV_CACHE_PRECISION):
        options = model.get_rt_info(KV_CACHE_PRECISION[:1]).value
        options.pop(KV_CACHE_PRECISION[1])
        model.set_rt_info(options, KV_CACHE_PRECISION[:1])
    model.set_rt_info(nncf_version, ["optimum", "nncf_version"])
