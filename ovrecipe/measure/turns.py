"""Measuring subjects in turns: A B A B, so that what disturbs the machine disturbs all of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ovrecipe.measure.history import History
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import Subject


class Turn(NamedTuple):
    """One run to be made; `seed` is its place among the repeats, so all get the same prompts."""

    subject: Subject
    series: int
    seed: int


def missing_turns(
    subjects: Sequence[Subject],
    settings: Settings,
    *,
    repeats: int,
    history: History,
    again: bool = False,
) -> list[Turn]:
    """Return what is to be run until each subject has its repeats; `again` counts none of them."""
    begun = {subject: history.current(subject, settings) for subject in subjects}
    numbers = {
        each: series.number + (again and bool(series.runs)) for each, series in begun.items()
    }
    have = {each: 0 if again else len(series.runs) for each, series in begun.items()}
    return [
        Turn(subject, numbers[subject], number)
        for number in range(repeats)
        for subject in subjects
        if number >= have[subject]
    ]


def take_turns(
    turns: Sequence[Turn],
    settings: Settings,
    *,
    history: History,
    measure: Callable[[Turn], Mapping[str, float]],
) -> Iterator[Turn]:
    """Run one after the other and yield each that is kept; whoever stops keeps those before."""
    for turn in turns:
        history.add(turn.subject, settings, turn.series, measure(turn))
        yield turn
