"""The process of one heavy stage: `python -m ovrecipe.build.worker MODULE JOB`.

Events go to the parent as JSON lines on what was standard output; everything that libraries
print goes to standard error, which the parent has made the stage's log. The process ends when
its parent does: the parent holds standard input open and never writes to it.
"""

import os
import sys
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path

from ovrecipe.errors import GateError, OvrecipeError, PluginError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.processes import Events, end_with_parent, peak_memory_bytes


def run(module: str, job_path: Path, events: Events) -> int:
    """Run the job of the stage in a module, tell how it ended, and return the exit code."""
    from ovrecipe.build.stages.stage import Job, Stage, StageContext
    from ovrecipe.hooks.plugins import load_plugins

    job = Job.model_validate_json(job_path.read_text(encoding="utf-8"))
    stage: Stage = import_module(module).STAGE
    try:
        plugins = load_plugins(env=os.environ, options=job.plugin_options)
        at_work = partial(events.send, "at work")
        facts = stage.run(job, StageContext(plugins, events, os.environ, at_work))
    except OvrecipeError as error:
        # What a gate found is kept for `ovrecipe why`; where a plugin's code raised, for its
        # author: the message names only the plugin.
        if isinstance(error, GateError):
            print(error, file=sys.stderr)
        if isinstance(error, PluginError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        events.send_error(error)
        return error.exit_code
    events.send("done", facts=facts, peak_memory_bytes=peak_memory_bytes())
    return 0


if __name__ == "__main__":
    to_parent = Events()
    end_with_parent()
    prepare_libraries(sys.modules, os.environ)
    code = run(sys.argv[1], Path(sys.argv[2]), to_parent)
    sys.stderr.flush()
    # Tearing down torch and OpenVINO takes up to a second and changes nothing: all is written.
    os._exit(code)
