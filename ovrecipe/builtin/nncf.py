"""The compressor `nncf`: every mode and method of `nncf.compress_weights`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from ovrecipe.builtin import nncf_rules
from ovrecipe.builtin.ir import SMALL_FILES_BYTES, base_bytes, read_ir, save_ir, weight_facts
from ovrecipe.builtin.nncf_once import compiled_once, remembered_scores, remembered_statistics
from ovrecipe.errors import foreign_errors
from ovrecipe.hooks.roles import CompressionJob, Estimate, WeightShape
from ovrecipe.recipe.compression import CompressionPass, IgnoredScope
from ovrecipe.types import Json, Progress

#: Peak anonymous memory beside the result, measured with NNCF 3.4: INT8 0.47 and 0.38 GB, INT4
#: 0.52 and 0.49 GB, with SmolLM2-135M (f16) and a 1.01-billion Llama (bf16).
PEAK_BYTES = 550_000_000
KV_CACHE_PRECISION = ["runtime_options", "KV_CACHE_PRECISION"]
#: What of the title of a progress bar tells that a correction is at work.
BARS = {
    "awq": "AWQ",
    "scale_estimation": "Scale Estimation",
    "gptq": "GPTQ",
    "lora_correction": "low-rank adapters",
}


class NncfCompressor:
    """Compresses an IR as optimum-cli would, from a base that was exported once.

    Unset knobs are those of `optimum-cli export openvino --weight-format`, so equal options give
    an `openvino_model.bin` that is equal byte for byte.
    """

    version = 2
    packages = ("nncf", "openvino")
    needs_torch = False
    objections = staticmethod(nncf_rules.knob_objections)
    problems = staticmethod(nncf_rules.group_size_problems)

    def estimate(
        self, compression: CompressionPass, precision: str, tensors: Sequence[WeightShape]
    ) -> Estimate:
        """Return what the pass takes; a data set lets NNCF run the base, whose pages it fills."""
        size = nncf_rules.compressed_bytes(compression, precision, tensors)
        data_bytes = 0 if compression.dataset is None else base_bytes(tensors)
        kept_bytes = nncf_rules.statistics_bytes(compression, tensors)
        return Estimate(size + kept_bytes + SMALL_FILES_BYTES, size + PEAK_BYTES + data_bytes)

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write the compressed IR; facts are the bits used, and which corrections found work."""
        job.progress("importing nncf")
        with foreign_errors("importing nncf", remedy="pip install 'ovrecipe[build]'"):
            import nncf
        arguments = nncf_arguments(job.compression, job.precision)
        samples: list[dict[str, Any]] = []
        if job.compression.dataset is not None:
            from ovrecipe.builtin.calibration import calibration_samples

            samples = calibration_samples(job)
            # Asked for more samples than there are, NNCF warns.
            arguments |= {"dataset": nncf.Dataset(samples), "subset_size": len(samples)}
        model = read_ir(job.input_dir)
        names = Counter(node.get_friendly_name() for node in model.get_ops())
        left_out: list[str] = []
        cache_dir = job.cache_dir if job.input_dir == job.base_dir else None
        with (
            foreign_errors("nncf"),
            nncf_reports(job.progress) as (warnings, titles),
            remembered_scores(cache_dir),
            remembered_statistics(cache_dir, samples, job.progress),
            compiled_once(),
        ):
            try:
                compressed = nncf.compress_weights(model, **arguments)
            except nncf.InvalidGroupSizeError as error:
                left_out = nncf_rules.without_groups(job.compression, str(error))
                if not left_out:
                    raise
                job.progress(f"leaving in float what has no groups: {', '.join(left_out)}")
                arguments["ignored_scope"] = ignored_scope(job.compression, left_out)
                compressed = nncf.compress_weights(read_ir(job.input_dir), **arguments)
        # What matches nothing ends before its progress bar, and says so at most at level info.
        applied: list[Json] = [
            name for name, bar in BARS.items() if any(bar in title for title in titles)
        ]
        mark_compressed(compressed, nncf.__version__)
        number_added(compressed, names)
        job.progress("writing the compressed IR")
        save_ir(compressed, job.output_dir, source_dir=job.input_dir)
        warning: dict[str, Json] = {"warning": "\n".join(warnings)} if warnings else {}
        alone: dict[str, Json] = {"left_out": [*left_out]} if left_out else {}
        return {**weight_facts(compressed), "applied": applied, **warning, **alone}


def nncf_arguments(compression: CompressionPass, precision: str) -> dict[str, Any]:
    """Return the arguments of `nncf.compress_weights`, all but the model and the data set.

    An unset knob gets what optimum-cli gives for the same weight format.

    Source: prepare_wc_config of optimum-intel 2.2.
    """
    import nncf

    mode = compression.mode_for(precision)
    arguments: dict[str, Any] = {"mode": nncf.CompressWeightsMode(mode)}
    if compression.ignored_scope is not None:
        arguments["ignored_scope"] = ignored_scope(compression)
    if nncf_rules.is_int8(mode):
        return arguments
    plain = ("all_layers", *nncf_rules.CORRECTIONS)
    arguments |= {name: getattr(compression, name) for name in plain}
    arguments["ratio"] = 1.0 if compression.ratio is None else compression.ratio
    if mode not in nncf_rules.FIXED_GROUP_SIZE:
        arguments["group_size"] = nncf_rules.group_size_of(compression, mode)
    if compression.sensitivity_metric is not None:
        arguments["sensitivity_metric"] = nncf.SensitivityMetric(compression.sensitivity_metric)
    if compression.backup_mode is not None:
        arguments["backup_mode"] = nncf.BackupMode(compression.backup_mode)
    if compression.group_size_fallback is not None:
        arguments["advanced_parameters"] = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode(compression.group_size_fallback)
        )
    return arguments


def ignored_scope(compression: CompressionPass, left_out: Sequence[str] = ()) -> Any:
    """Return NNCF's scope of what keeps its precision: the recipe's, and `left_out`."""
    import nncf

    scope = compression.ignored_scope or IgnoredScope()
    known = scope.model_dump(mode="json", by_alias=True)
    return nncf.IgnoredScope(**{**known, "names": [*known["names"], *left_out]})


@contextmanager
def nncf_reports(progress: Progress) -> Iterator[tuple[list[str], list[str]]]:
    """Report NNCF's progress; collect its warnings and its bars' titles until the block ends."""
    from logging import WARNING, LogRecord

    from nncf.common.logging import nncf_logger
    from nncf.common.logging.track_progress import track

    warnings: list[str] = []
    titles: list[str] = []

    def note(record: LogRecord) -> bool:
        if record.levelno >= WARNING:
            warnings.append(record.getMessage())
        return True

    def reported(bar: Any) -> Iterator[Any]:
        titles.append(bar.description)
        return _reported(bar, progress)

    nncf_logger.addFilter(note)
    drawn, track.__iter__ = track.__iter__, reported
    try:
        yield warnings, titles
    finally:
        track.__iter__ = drawn
        nncf_logger.removeFilter(note)


def _reported(bar: Any, progress: Progress) -> Iterator[Any]:
    """Iterate as an NNCF progress bar does; its steps count by weight where it has weights."""
    total = bar.total
    if total is None and hasattr(bar.sequence, "__len__"):
        total = len(bar.sequence)
    done = 0.0
    progress(bar.description, done=done, total=total)
    for index, item in enumerate(bar.sequence):
        yield item
        done += 1 if bar.weights is None else bar.weights[index]
        progress(bar.description, done=done, total=total)


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


def number_added(model: Any, names: Counter[str]) -> None:
    """Number what NNCF added without a name to a model that had `names`.

    OpenVINO numbers all that a process makes, so the names would tell what was made before: by a
    pass that finds its scores and statistics kept, less.
    """
    numbers = count()
    now = Counter(node.get_friendly_name() for node in model.get_ops())
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        # A name of the base's may happen to be one that OpenVINO gives now.
        if name == node.get_name() and now[name] > names[name]:
            found = (f"{node.get_type_name()}_added_{number}" for number in numbers)
            node.set_friendly_name(next(one for one in found if one not in names))
