"""What `tune` asks of settings within the limits: how fast they are, and a longer text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe.build.events import Watch
    from ovrecipe.build.tuning.bounds import Found
    from ovrecipe.build.tuning.racing import Race
    from ovrecipe.build.tuning.search import Finals
    from ovrecipe.build.tuning.trials import Trials
    from ovrecipe.cli.session import Session
    from ovrecipe.measure.subject import Subject
    from ovrecipe.measure.turns import Turn


@contextmanager
def finals_of(
    trials: Trials, watch: Watch, *, session: Session, target: str, tokens: int, device: str | None
) -> Iterator[Finals]:
    """Give what is asked of the settings for `target` within the limits, speed on a device if any.

    Raises:
        ProjectError: the history of measurements cannot be used.
    """
    from ovrecipe.build.tuning.confirming import confirmed
    from ovrecipe.build.tuning.search import Finals

    confirm = partial(confirmed, trials, tokens=tokens, watch=watch)
    if device is None:
        yield Finals(confirm)
        return
    with _race(trials, watch, session=session, target=target, device=device) as race:
        yield Finals(confirm, race.run)


@contextmanager
def _race(
    trials: Trials, watch: Watch, *, session: Session, target: str, device: str
) -> Iterator[Race]:
    """Give what times settings on a device; raises as `finals_of`."""
    from ovrecipe.build.events import Ended, Progressed, Started, Warned
    from ovrecipe.build.tuning.racing import ROUNDS, SETTINGS, Race
    from ovrecipe.measure import history as records
    from ovrecipe.measure.subject import OURS, Subject, machine_name
    from ovrecipe.measure.targets import versions_of
    from ovrecipe.measure.timing import timed
    from ovrecipe.run.genai import list_devices

    versions, names = versions_of(OURS), dict[str, str]()

    def subject_of(found: Found) -> Subject:
        model_dir = trials.model_dir(found.candidate)
        names[model_dir.name] = found.point.name
        return Subject(target, model_dir.name, device, OURS, versions, str(model_dir))

    @cache
    def announce_once(message: str) -> None:
        watch(Warned(f"speed {target}", message))

    def measure(turn: Turn) -> Mapping[str, float]:
        title = f"speed {names[turn.subject.artifact]}"
        watch(Started(title, f"measuring on {device}, round {turn.seed + 1} of {ROUNDS}"))
        try:
            return timed(
                turn.subject,
                SETTINGS,
                seed=turn.seed,
                env=session.env,
                plugin_options=session.plugin_options,
                progress=lambda message: watch(Progressed(title, message)),
                announce=announce_once,
            )
        finally:
            watch(Ended(title))

    with records.opened(session.project.history_path, machine_name(list_devices())) as history:
        yield Race(subject_of, measure, history)
