"""How fast the points within the limits are: in turns, each in a process of its own, as `bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovrecipe.errors import RunError
from ovrecipe.measure.speed import Figure, Settings, Summary, summary_of
from ovrecipe.measure.turns import missing_turns, take_turns
from ovrecipe.wording import last_line

if TYPE_CHECKING:
    from ovrecipe.build.tuning.bounds import Found
    from ovrecipe.measure.history import History
    from ovrecipe.measure.subject import Subject
    from ovrecipe.measure.turns import Turn

#: What is asked of every point: a short answer to a short prompt, one at a time.
SETTINGS = Settings(prompt_tokens=(32,), batch=(), new_tokens=64, warm_up=1)
TIME_A_TOKEN = Figure("tpot_ms", 32)
ROUNDS = 3
#: Who is not this fast, as a share of the fastest, is out of the race after a round.
ABREAST = 0.8


@dataclass(frozen=True)
class Race:
    """Where points are timed: what each is to a measurement, and where its runs are kept."""

    subject_of: Callable[[Found], Subject]
    measure: Callable[[Turn], Mapping[str, float]]
    history: History

    def run(self, found: Sequence[Found]) -> tuple[list[Found], dict[str, str]]:
        """Return points with their speed, and why some were timed less often than others.

        What the history has is not measured again. A point that does not run has no speed.

        Raises:
            RunError: none of them runs.
            OvrecipeError: one cannot be timed for another reason.
            KeyboardInterrupt: Ctrl-C; each finished run is kept.
        """
        subjects = {one.point.name: self.subject_of(one) for one in found}
        speeds: dict[str, Summary] = {}
        behind: dict[str, str] = {}
        for number in range(1, ROUNDS + 1):
            running = {name: each for name, each in subjects.items() if name not in behind}
            failed = {
                name: error
                for name, subject in running.items()
                if (error := self._failure(subject, number)) is not None
            }
            if failed.keys() == running.keys():
                raise next(iter(failed.values()))
            for name, error in failed.items():
                where = running.pop(name).device
                behind[name] = f"does not run on {where}: {last_line(error)}"
            speeds |= {name: self._speed(subject, number) for name, subject in running.items()}
            first = max(running, key=lambda name: speeds[name].median)
            wanted = ABREAST * speeds[first].median
            if number < ROUNDS:
                why = f"less than {ABREAST:.0%} as fast as {first}"
                behind |= {name: why for name in running if speeds[name].median < wanted}
        return [replace(one, speed=speeds.get(one.point.name)) for one in found], behind

    def _failure(self, subject: Subject, number: int) -> RunError | None:
        """Time a point until it has so many runs; return why it does not run."""
        turns = missing_turns([subject], SETTINGS, repeats=number, history=self.history)
        try:
            for _ in take_turns(turns, SETTINGS, history=self.history, measure=self.measure):
                pass
        except RunError as error:
            return error
        return None

    def _speed(self, subject: Subject, number: int) -> Summary:
        """Return tokens a second over the first runs in the history.

        Runs of later rounds must not change what was decided after an earlier one.
        """
        times = self.history.current(subject, SETTINGS).figures[TIME_A_TOKEN].samples
        return summary_of([1000 / time_ms for time_ms in times[:number]])
