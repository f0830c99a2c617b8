"""What NNCF would compute again for each weight and each pass, computed once.

Its data-free sensitivity scores, half of an INT4 pass below ratio 1: by them it chooses which
weights keep more bits, and they depend on the weight alone, not on group size, ratio or sym. What
the base computes inside along the calibration samples, for AWQ, scale estimation, LoRA correction
and data-aware metrics. And the small models by which OpenVINO rounds a weight: compiling one takes
ten times what running it takes, and a model's matrices share a handful.

NNCF's own statistics cache (`statistics_path`) is not used. It collects all that any metric may
want, of which one takes whole activations, does not notice another data set, writes its folder's
name into the IR, and fails where a killed pass left it half.

Source: DataFreeCriterion, WeightCompression and OVWeightCompressionAlgoBackend of
nncf.quantization.algorithms.weight_compression, NNCF 3.4.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ovrecipe.types import Progress

FILE_NAME = "sensitivity.json"
#: What scores a weight by itself.
METHOD = "_calc_weight_sensitivity"
#: What runs the model along the samples.
COLLECTING = "_collect_statistics"
LOCK_NAME = "calibration.lock"
#: What runs a model that rounds a weight, and what lets it be compiled again.
RUN, FORGETTING = "_infer_ov_model", "disable_results_caching"


@contextmanager
def remembered_scores(cache_dir: Path | None) -> Iterator[None]:
    """Let NNCF read the scores that are in `cache_dir`, and keep there what it computes.

    For passes over the base IR only: a weight is known by its name. Of a metric that needs data it
    is the part that does not.
    """
    from nncf.quantization.algorithms.weight_compression import mixed_precision

    if cache_dir is None:
        yield
        return
    path = cache_dir / FILE_NAME
    known = _read(path)
    before = len(known)

    def remembered(computed: Callable[..., float]) -> Callable[..., float]:
        def score(self: Any, weight: Any, *args: Any) -> float:
            name = f"{type(self).__name__} {weight.weight_name} {list(weight.reduction_axes)}"
            if name not in known:
                known[name] = computed(self, weight, *args)
            return known[name]

        return score

    with ExitStack() as stack:
        for criterion in (mixed_precision.DataFreeCriterion, mixed_precision.HAWQCriterion):
            own = remembered(getattr(criterion, METHOD))
            stack.enter_context(_replaced(criterion, METHOD, own))
        yield
    if len(known) > before:
        # Another pass may have kept what another metric takes.
        _write(path, {**_read(path), **known})


@contextmanager
def remembered_statistics(
    cache_dir: Path | None, samples: Sequence[Mapping[str, Any]], progress: Progress
) -> Iterator[None]:
    """Let NNCF read what the base computed along the same samples, and keep what it collects.

    Each statistic of a pass has a file of its own, named by the samples and the places in the
    model: a pass that wants one more runs the model for that one. GPTQ runs it again all the same,
    for it looks at weights that are rounded already.
    """
    from nncf.quantization.algorithms.weight_compression.algorithm import WeightCompression

    if cache_dir is None:
        yield
        return
    collect, fed = getattr(WeightCompression, COLLECTING), _digest_of(samples)

    def collected(algorithm: Any, dataset: Any, graph: Any, model: Any, points: Any) -> Any:
        progress("looking for calibration statistics collected before")
        with one_at_a_time(cache_dir):
            files = _files(points, fed)
            missing = {
                name: collectors
                for name, collectors in files.items()
                if not _is_restored(cache_dir / name, collectors)
            }
            if missing:
                points = collect(algorithm, dataset, graph, model, points)
            for name, collectors in missing.items():
                write_arrays(cache_dir / name, _arrays(collectors))
        return points

    with _replaced(WeightCompression, COLLECTING, collected):
        yield


@contextmanager
def compiled_once() -> Iterator[None]:
    """Let NNCF keep the models that round weights, and copy what they give.

    It compiles each anew while it writes weights, for a model overwrites what it gave when it runs
    again.
    """
    from nncf.openvino.optimized_functions import models
    from nncf.quantization.algorithms.weight_compression import openvino_backend
    from nncf.tensor import Tensor

    run = getattr(models, RUN)

    def owned(*args: Any) -> list[Any]:
        return [Tensor(_copied(given.data)) for given in run(*args)]

    with _replaced(models, RUN, owned), _replaced(openvino_backend, FORGETTING, nullcontext):
        yield


@contextmanager
def one_at_a_time(cache_dir: Path) -> Iterator[None]:
    """Hold the lock of what is kept: of two passes that want the same, one computes it."""
    from filelock import FileLock

    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / LOCK_NAME):
        yield


def file_name(what: str, *depends_on: Any) -> str:
    """Return the name of a file of arrays, another one for each value of what they depend on."""
    return f"{what}-{hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]}.bin"


def read_arrays(path: Path) -> list[Any] | None:
    """Return what `write_arrays` wrote; None where nothing is, or not every byte as it was."""
    import numpy as np

    try:
        with path.open("rb") as file:
            noted = file.readline().decode("ascii", "replace").strip()
            begin = file.tell()
            if hashlib.file_digest(file, "sha256").hexdigest() != noted:
                return None
            end = file.tell()
            file.seek(begin)
            found = []
            while file.tell() < end:
                found.append(np.load(file))
            return found
    except OSError:
        return None


def write_arrays(path: Path, arrays: Iterable[Any]) -> None:
    """Write the file whole or not at all, one array in memory at a time; the lock must be held."""
    import numpy as np

    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w+b") as file:
            head = hashlib.sha256().hexdigest().encode() + b"\n"
            file.write(head)
            for array in arrays:
                np.save(file, array)
            file.seek(len(head))
            noted = hashlib.file_digest(file, "sha256").hexdigest().encode()
            file.seek(0)
            file.write(noted)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _digest_of(samples: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of the tokens that the model is fed with."""
    digest = hashlib.sha256()
    for sample in samples:
        for name, array in sorted(sample.items()):
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _files(points: Any, fed: str) -> dict[str, list[Any]]:
    """Return the collectors of a pass by the file of their values, in the order of its arrays."""
    kinds: dict[str, list[tuple[list[Any], Any]]] = {}
    for _, point, collector in points.get_tensor_collectors():
        kind = type(collector.get_statistics()).__name__
        kinds.setdefault(kind, []).append((_place(point.target_point, collector), collector))
    return {
        file_name("statistics", kind, fed, [place for place, _ in found]): [
            collector for _, collector in found
        ]
        for kind, found in kinds.items()
    }


def _place(target: Any, collector: Any) -> list[Any]:
    """Return where in the model a collector looks, and what it makes of what it sees there."""
    reducers = sorted(f"{type(one).__name__} {vars(one)}" for one in collector.reducers)
    aggregators = sorted(
        f"{type(one).__name__} {one.num_samples}" for one in collector.aggregators.values()
    )
    return [str(target.type), target.target_node_name, target.port_id, reducers, aggregators]


def _is_restored(path: Path, collectors: Sequence[Any]) -> bool:
    """Give collectors the values of a file; NNCF runs no model for those that have theirs."""
    from nncf.tensor import Tensor

    arrays = read_arrays(path)
    if arrays is None:
        return False
    given = iter(arrays)
    for collector in collectors:
        statistics = collector.get_statistics()
        statistics.load_data({name: Tensor(next(given)) for name in statistics.get_data()})
        collector.set_cache(statistics)
    return True


def _arrays(collectors: Sequence[Any]) -> Iterator[Any]:
    """Yield the values of collectors: a row for each sample, or one value of them all."""
    import numpy as np

    for collector in collectors:
        for value in collector.get_statistics().get_data().values():
            rows = isinstance(value, list)
            yield np.asarray([getattr(row, "data", row) for row in value] if rows else value.data)


@contextmanager
def _replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _copied(data: Any) -> Any:
    """Return a copy of a numpy array, or of an OpenVINO tensor, whose type numpy may not have."""
    import openvino as ov

    if not isinstance(data, ov.Tensor):
        return data.copy()
    copy = ov.Tensor(data.element_type, data.shape)
    data.copy_to(copy)
    return copy


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_right = isinstance(found, dict) and all(isinstance(one, float) for one in found.values())
    return found if is_right else {}


def _write(path: Path, known: dict[str, float]) -> None:
    """Write the file whole or not at all: two passes may end at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(path)
