"""`evenly extract RECIPE`: features of the latest build; nothing is loaded to say that they are all there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from evenly.features.encoders.stages import STAGES, Profile
from evenly.flows.cli.adapters.options import ExtractOptions
from evenly.flows.cli.command import check_out
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.runs import encoder_choice
from evenly.signatures import Place
from evenly.storage.builds import encoder_of, open_build
from evenly.tasks.pictures.encoded import count_devices, count_stored
from evenly.tasks.run import EncoderChoice


def extract_latest(recipe: Place, options: ExtractOptions) -> dict[str, Any]:
    """Extract features of the latest build of a recipe; how many there are and were new, and with `out` what it holds.

    A large build is cut and worked on by several processes as a rebuild is; for a profile by this one.

    `devices`: how many of its pictures each device encoded. Raises InputError for a build of captions alone, UsageError
    where `out` cannot be written.
    """
    chosen = read_recipe(recipe)
    out, class_list, root = options.out, options.class_list, options.root
    if class_list is not None and out is None:
        raise UsageError(f"`--list` must come with `--out FILE.npz`; got `{class_list}` alone. Add it.")
    if out is not None:
        check_out(out)
        _check_lists(chosen, class_list)
    workspace, manifest = open_build(f"{chosen.name}-latest", root=root)
    encoder = encoder_of(manifest)
    made_by = encoder_choice(manifest["encoder"], manifest["recipe"].get("features", {}))
    counts = count_stored(workspace, manifest) if made_by == _numbers(chosen) else None
    if counts is None:
        from evenly.flows.runs import prefect_api, run_in
        from evenly.tasks.partitioning import allowed_memory, choose_cut, open_engine
        from evenly.tasks.rebuild.features import extract_features

        run = run_in(chosen, root=root)
        processes = 1 if options.profile else run.processes
        cut = choose_cut(manifest["samples"]["rows"], allowed_memory(chosen.memory), processes, pictured=True)
        run = replace(run, bits=cut.bits, pairs=cut.rows)
        with prefect_api(), open_engine(run, cut.workers) as partitions:
            result: dict[str, Any] = extract_features(run, manifest, partitions)
    else:
        result = {"encoder": encoder, **counts}
    result["devices"] = count_devices(workspace, manifest, result["encoder"])
    if out is None:
        return result
    from evenly.flows.cli.adapters.own_features.folders import extract_pairs

    return result | extract_pairs(recipe, out=out, class_list=class_list, root=root)


def profile_facts(profile: Profile) -> dict[str, Any]:
    """The facts of a profile: pictures, seconds, pictures a second, a row for each stage, and the stage that limits."""
    if not profile.pictures:
        return {"pictures": 0}
    rows = [
        {
            "stage": stage,
            "seconds": round(profile.seconds[stage], 2),
            "at_once": profile.at_once[stage],
            "busy": round(profile.busy(stage), 3),
        }
        for stage in STAGES
    ]
    return {
        "pictures": profile.pictures,
        "seconds": round(profile.wall_s, 2),
        "pictures_per_s": round(profile.pictures / profile.wall_s, 1),
        "stages": rows,
        "limit": profile.limit,
    }


def _numbers(recipe: Recipe) -> EncoderChoice:
    """The encoder of a recipe without what changes no number on one machine."""
    return replace(recipe.features.encoder, threads=None, device=None)


def _check_lists(recipe: Recipe, class_list: str | None) -> None:
    """Raise UsageError unless it is clear which class list of the recipe, if any, gives the file its texts."""
    names = [Path(listing.list).stem for listing in recipe.classes]
    if class_list is not None and class_list not in names:
        raise UsageError(
            f"`--list` must be a class list of the recipe; got `{class_list}`. There: {', '.join(names) or 'none'}."
        )
    if class_list is None and len(names) > 1:
        raise UsageError(
            f"`--list` must say which class list gives the file its texts; there are {', '.join(names)}. "
            f"Add --list {names[0]}."
        )
