"""`ovrecipe tune` and `sweep`: finding the settings of a variant by measuring them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import nan
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ovrecipe.cli import tune_results
from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import AsJson, announce
from ovrecipe.cli.session import session_of
from ovrecipe.cli.tune_finals import finals_of
from ovrecipe.cli.tune_options import (
    Awqs,
    Budgets,
    DryRun,
    Force,
    GroupSizes,
    Jobs,
    Quiet,
    Ratios,
    Scales,
    Syms,
    lists_of,
)
from ovrecipe.errors import RecipeInvalid
from ovrecipe.measure.texts import TOKENS
from ovrecipe.recipe.project import split_target
from ovrecipe.recipe.tasks import GENERATION

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Watch
    from ovrecipe.build.tuning.points import Choices
    from ovrecipe.build.tuning.search import Finals, Results
    from ovrecipe.build.tuning.trials import Trials
    from ovrecipe.cli.session import Session
    from ovrecipe.recipe.schema import Accept, Recipe, Variant

#: The variant that a bare name means.
VARIANT = "int4"
Target = Annotated[
    str, recipe_argument("NAME[:VARIANT]", "A recipe, whose variant int4 is meant, or a variant.")
]
STOPPED = "stopped; what was measured is kept, the same command goes on"


def tune(
    ctx: typer.Context,
    target: Target,
    *,
    max_kl: Annotated[
        float | None, Option(help="Most divergence from the source, nats a token.")
    ] = None,
    min_same_top: Annotated[
        float | None, Option(help="Least share of places with the source's likeliest token.")
    ] = None,
    max_perplexity_ratio: Annotated[
        float | None, Option(help="Most perplexity over the source's own.")
    ] = None,
    group_size: GroupSizes = None,
    ratio: Ratios = None,
    sym: Syms = None,
    awq: Awqs = None,
    scale_estimation: Scales = None,
    bits_per_weight: Budgets = None,
    fastest: Annotated[
        bool, Option("--fastest", help="Find the most tokens a second, not the smallest.")
    ] = False,
    device: Annotated[
        str | None, Option(help="Where --fastest measures; see 'ovrecipe devices'.")
    ] = None,
    tokens: Annotated[
        int, Option(min=64, help="Confirm what wins along so many tokens of the source.")
    ] = TOKENS,
    jobs: Jobs = 2,
    force: Force = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Find the smallest INT4 settings of a variant within limits, and write them into the recipe.

    A bare NAME means its variant int4. Searched are group_size, ratio, sym, awq, scale_estimation
    where the variant has a dataset, and budgets where ovrecipe-budget is installed; an option
    narrows one of them. What cannot win is not measured. The recipe's own 'accept' holds as well.
    What wins is compared once more along a longer text; where that is beyond a limit, the search
    goes on. With --fastest all within the limits are timed in turns, on the default device or
    on that of --device.
    What was measured is kept in the store until 'ovrecipe gc', so a stopped search goes on.

    Exits with 8 when no setting is within the limits; the recipe stays as it is then.

    Example: ovrecipe tune smollm2-135m --max-kl 0.1

    For speed: ovrecipe tune smollm2-135m --max-kl 0.1 --fastest
    """
    given = {"mean_kl": max_kl, "same_top": min_same_top, "perplexity_ratio": max_perplexity_ratio}
    session = session_of(ctx)
    context = session.build_context(force=force, jobs=jobs)
    recipe, name, variant = _variant_of(context, target)
    timed_on = _timed_on(session, device, fastest=fastest)
    accept = limits_of(
        recipe, variant, {key: said for key, said in given.items() if said is not None}
    )
    choices = _all_choices(context, variant)
    choices = replace(
        choices, **lists_of(group_size, ratio, sym, awq, scale_estimation, bits_per_weight)
    )
    target = f"{recipe.name}:{name}"
    finals = partial(finals_of, session=session, target=target, tokens=tokens, device=timed_on)
    trials, results = _search(
        context, recipe, variant, choices, accept, quiet=quiet, dry_run=dry_run, finals=finals
    )
    if dry_run:
        tune_results.show_plan(trials, as_json=as_json)
        return
    assert results is not None, "it was no dry run"
    from ovrecipe.build.tuning.rewriting import write_settings

    tune_results.show_results(results, as_json=as_json)
    if results.chosen is None:
        raise tune_results.none_within(target, results)
    found, own = results.chosen.point.variant, recipe.variants.get(name)
    if own is not None and own.compression_passes() == found.compression_passes():
        announce(f"variants.{name} of {recipe.path.name} says that already")
    else:
        write_settings(recipe, name, found)
        announce(f"wrote variants.{name} into {recipe.path.name}")
    announce(f"next: ovrecipe build {recipe.name}:{name}, for which everything is made")


def sweep(
    ctx: typer.Context,
    target: Target,
    *,
    group_size: GroupSizes = None,
    ratio: Ratios = None,
    sym: Syms = None,
    awq: Awqs = None,
    scale_estimation: Scales = None,
    bits_per_weight: Budgets = None,
    jobs: Jobs = 2,
    force: Force = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure every combination of the settings that are listed, and change nothing.

    A bare NAME means its variant int4. What is not listed stays as the variant has it. A setting
    that is impossible for this model is named and left out.

    Example: ovrecipe sweep smollm2-135m --group-size 32,64 --ratio 0.8,1.0 --sym true,false
    """
    from ovrecipe.build.tuning.points import Choices

    given = lists_of(group_size, ratio, sym, awq, scale_estimation, bits_per_weight)
    if not given:
        raise typer.BadParameter("nothing to sweep: give lists, as --group-size 32,64")
    context = session_of(ctx).build_context(force=force, jobs=jobs)
    recipe, name, variant = _variant_of(context, target)
    accept = recipe.accept_of(name) if name in recipe.variants else recipe.accept
    trials, results = _search(
        context, recipe, variant, Choices(**given), accept,
        quiet=quiet, dry_run=dry_run, finals=None,
    )  # fmt: skip
    if results is None:
        tune_results.show_plan(trials, as_json=as_json)
    else:
        tune_results.show_results(results, as_json=as_json)


def _timed_on(session: Session, device: str | None, *, fastest: bool) -> str | None:
    """Return where settings are timed, if they are.

    Raises:
        BadParameter: a device is given, and nothing is timed.
        DeviceUnknown: it is not on this machine.
    """
    if not fastest:
        if device is not None:
            raise typer.BadParameter("--device is where --fastest measures: give that too")
        return None
    from ovrecipe.run.genai import check_device, list_devices

    default = session.defaults.device
    found = device if device is not None else default.value if default else "CPU"
    check_device(found, [each.name for each in list_devices()])
    return found


def _variant_of(context: BuildContext, target: str) -> tuple[Recipe, str, Variant]:
    """Return the variant that a search begins at; `int4` need not be in the recipe yet."""
    from ovrecipe.recipe.project import check_variant
    from ovrecipe.recipe.schema import Variant, check_task

    name, named = split_target(target)
    recipe = context.recipe(name)
    check_task(recipe, GENERATION)
    if named is not None:
        check_variant(recipe, named)
    elif VARIANT not in recipe.variants:
        return recipe, VARIANT, Variant(precision="int4")
    found = recipe.variants[named or VARIANT]
    if found.precision != "int4" or found.passes:
        what = "has several passes" if found.passes else f"is {found.precision}"
        raise RecipeInvalid(
            f"{recipe.name}:{named or VARIANT} {what}; settings are searched for INT4 in one pass",
            remedy=f"name another variant: {', '.join(recipe.variants)}",
        )
    return recipe, named or VARIANT, found


def limits_of(recipe: Recipe, variant: Variant, given: Mapping[str, float]) -> Accept:
    """Return the recipe's limits with those of the command line, of two the stricter one.

    Raises:
        BadParameter: there is none, or one that no figure could keep or miss.
    """
    from ovrecipe.measure.verdict import AT_MOST, DIRECTIONS
    from ovrecipe.recipe.schema import Accept

    options = {"mean_kl": "--max-kl", "same_top": "--min-same-top"}
    for name, limit in given.items():
        is_share = name == "same_top"
        if not (0 < limit <= 1 if is_share else 0 < limit < float("inf")):
            option = options.get(name, "--max-perplexity-ratio")
            most = " and at most 1" if is_share else ""
            raise typer.BadParameter(f"{option} must be greater than 0{most}, got {limit:g}")
    own = variant.accept.over(recipe.accept).given()
    if not given and not own:
        raise typer.BadParameter("no limit to keep: give one, as --max-kl 0.1")
    stricter = {
        name: (min if DIRECTIONS[name] == AT_MOST else max)(limit, own.get(name, limit))
        for name, limit in given.items()
    }
    return Accept(**{**own, **stricter})


def _all_choices(context: BuildContext, variant: Variant) -> Choices:
    """Return all that is searched where the command line names nothing."""
    from ovrecipe.build.tuning import points

    has_budgets = points.BUDGET in context.plugins.names("compressor")
    return points.Choices(
        group_size=points.GROUP_SIZES,
        ratio=points.RATIOS,
        sym=(False, True),
        awq=(False, True),
        scale_estimation=(False, True) if variant.dataset else (False,),
        bits_per_weight=points.BITS_PER_WEIGHT if has_budgets else (),
    )


def _search(
    context: BuildContext,
    recipe: Recipe,
    variant: Variant,
    choices: Choices,
    accept: Accept,
    *,
    quiet: bool,
    dry_run: bool,
    finals: Callable[[Trials, Watch], AbstractContextManager[Finals]] | None,
) -> tuple[Trials, Results | None]:
    """Prepare a search and, unless it is a dry run, do it; without `finals` all is measured."""
    from ovrecipe.build.tuning.points import points_of
    from ovrecipe.build.tuning.search import swept, tuned
    from ovrecipe.build.tuning.trials import prepare
    from ovrecipe.cli.build_commands import watching

    points = points_of(variant, choices)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with watching(quiet=quiet) as watch:
            trials = prepare(
                context, recipe, points, accept=accept, watch=watch, may_fetch=not dry_run
            )
            if dry_run:
                return trials, None
            tell = (lambda *_: None) if quiet else _tell
            if finals is None:
                return trials, swept(trials, watch=watch, tell=tell)
            with finals(trials, watch) as asked:
                return trials, tuned(trials, asked, watch=watch, tell=tell)
    except KeyboardInterrupt:
        announce(STOPPED)
        raise


def _tell(results: Results, left: int) -> None:
    """Say on standard error what came of a setting, while others are still to come."""
    from ovrecipe.build.tuning.bounds import Found
    from ovrecipe.wording import counted

    last = results.last
    if isinstance(last, Found):
        verdict = "within the limits" if last.is_within else "; ".join(map(str, last.exceeded))
        figures = f"{last.size_bytes / 1e6:.1f} MB, mean KL {last.judged.get('mean_kl', nan):.4f}"
        along = "" if last.longer is None else f" along {last.longer['tokens']:,} tokens"
        text = f"{last.point.name}: {figures}{along}, {verdict}"
    else:
        text = f"{[*results.impossible][-1]}: left out, {last}"
    print(f"{text}; {counted(left, 'setting')} left", file=sys.stderr, flush=True)
