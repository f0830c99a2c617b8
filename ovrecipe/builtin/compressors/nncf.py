"""The compressor `nncf`: every mode and method of `nncf.compress_weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.compressors.groups import group_size_problems
from ovrecipe.builtin.compressors.ir import read_ir, save_ir, weight_facts
from ovrecipe.builtin.compressors.nncf_process import nncf_reports
from ovrecipe.builtin.compressors.settings import nncf_arguments
from ovrecipe.builtin.foreign import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import CompressionJob, Json, WeightShape
    from ovrecipe.recipe.compression import CompressionPass

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
    options_model = None

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

    from ovrecipe.builtin.compressors.calibration import calibration_samples

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
