"""No telemetry leaves a process of ours."""

from collections.abc import MutableMapping
from types import ModuleType
from typing import Any

#: What the libraries we call look at before they count their users.
OPT_OUTS = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def switch_off_telemetry(
    modules: MutableMapping[str, ModuleType], env: MutableMapping[str, Any]
) -> None:
    """Make `openvino_telemetry` impossible to import and set the opt-outs of the others.

    Call it before the first heavy import. NNCF and OpenVINO send unless a file in the user's home
    says no, but treat the package as optional: an import that fails stops both without that file.

    Source: nncf/telemetry/wrapper.py (NNCF 3.4), openvino/tools/ovc/telemetry_utils.py (2026.4).
    """
    modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    modules.setdefault("openvino_telemetry.backend", None)  # type: ignore[arg-type]
    env.update(OPT_OUTS)
