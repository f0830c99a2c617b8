"""What the libraries that we call must know before they are imported."""

import os
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any

#: What the libraries we call look at before they count their users.
OPT_OUTS = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
#: oneDNN's limit to the instructions that it uses, and the last set below AMX.
ISA_LIMIT, BELOW_AMX = "ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16"
#: OpenVINO's property that says with how many threads a model works on a CPU.
THREADS = "INFERENCE_NUM_THREADS"


def prepare_libraries(
    modules: MutableMapping[str, ModuleType],
    env: MutableMapping[str, Any],
    properties: Mapping[str, Any] | None = None,
) -> None:
    """Switch off telemetry, and spare OpenVINO what it does wrongly with one thread.

    Call it before the first heavy import, and with what a model is opened with before it is opened.
    """
    _switch_off_telemetry(modules, env)
    given = str((properties or {}).get(THREADS))
    spare_one_thread(1 if given == "1" else _processors(), env)


def _switch_off_telemetry(
    modules: MutableMapping[str, ModuleType], env: MutableMapping[str, Any]
) -> None:
    """Make `openvino_telemetry` impossible to import and set the opt-outs of the others.

    NNCF and OpenVINO send unless a file in the user's home says no, but treat the package as
    optional: an import that fails stops both without that file.

    Source: nncf/telemetry/wrapper.py (NNCF 3.4), openvino/tools/ovc/telemetry_utils.py (2026.4).
    """
    modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    modules.setdefault("openvino_telemetry.backend", None)  # type: ignore[arg-type]
    env.update(OPT_OUTS)


def spare_one_thread(threads: int | None, env: MutableMapping[str, Any]) -> None:
    """Keep OpenVINO from AMX where it has one thread alone, unless the user set a limit.

    It shares the work of a layer of 16-bit weights among its threads, and divides by zero with one
    of them: the process ends by SIGFPE. The limit is read when the first model is opened.

    Source: openvino#33300, found with 2026.4 too.
    """
    if threads == 1:
        env.setdefault(ISA_LIMIT, BELOW_AMX)


def _processors() -> int | None:
    """Return how many processors this process may use, of which OpenVINO makes its threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
