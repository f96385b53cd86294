"""`evenly why`: the history of a sample that is named by what people know it by."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from evenly.audit.errors import UnknownSampleError
from evenly.audit.explanation import Explanation
from evenly.audit.published import PublishedBuild, each_image
from evenly.audit.regions import REGION_TABLE, regions_of
from evenly.audit.safe_text import visible
from evenly.audit.why import explain, unknown_sample
from evenly.signatures import Place
from evenly.storage.builds import LATEST, Builds
from evenly.storage.records import replacing
from evenly.storage.tables.hashing import file_hash
from evenly.storage.web.images import reader
from evenly.storage.workspace import Workspace

_SIDE = 1024
_SHOWN = 3  # names like one that no pair has
_MOST_COMPARED = 20_000  # names, which takes about a second


def explain_sample(sample: str, *, build: str | None, root: Place | None, replay: bool) -> Explanation:
    """The history of the pairs of a uid, URL, file name or id; of a file that is none of these, by its bytes.

    A file name may lack its folder where one pair alone has it.

    Without a build, in the latest of each recipe until one saw it, that of the newest promotion first. Raises
    UnknownSampleError.
    """
    workspace = Workspace.at(root)
    builds = Builds(workspace)
    names = [build] if build else builds.latest_of_each() or [LATEST]
    for chosen in map(builds.read, names):
        for name in (sample, *_names_of_file(sample)):
            try:
                return replace(explain(workspace, chosen, name, replay=replay), asked=sample)
            except UnknownSampleError:
                continue
    first = PublishedBuild(workspace, builds.read(names[0]))
    uids = {name: uid for name, uid in first.file_names().items() if name}
    in_folders = sorted(name for name in uids if name.rpartition("/")[2] == sample)
    if len(in_folders) == 1:
        return replace(explain(workspace, builds.read(names[0]), uids[in_folders[0]], replay=replay), asked=sample)
    alike = in_folders or get_close_matches(sample, sorted(uids)[:_MOST_COMPARED], n=_SHOWN)
    shown = ", ".join(f"`{visible(name)}`" for name in alike[:_SHOWN])
    omitted = f" and {len(alike) - _SHOWN:,} more" if len(alike) > _SHOWN else ""
    error = unknown_sample(first, sample)
    raise UnknownSampleError(f"{error} Near it are {shown}{omitted}.") if shown else error


def draw_regions(path: Path, explanation: Explanation, *, root: Place | None) -> None:
    """Write the picture of the first pair that has regions, with these drawn on it, as a PNG.

    Raises UnknownSampleError where none has any, or its bytes are not held here.
    """
    from evenly.audit.report.regions import overlaid

    for pair in explanation.pairs:
        rows = next((sight.rows[REGION_TABLE] for sight in pair.steps if REGION_TABLE in sight.rows), ())
        if not rows or pair.image is None:
            continue
        read_bytes = reader(Workspace.at(root).downloads)
        ((_, content),) = each_image(read_bytes, [pair.image["image_id"]])
        picture = None if isinstance(content, str) else overlaid(content, regions_of(rows), side=_SIDE)
        if picture is not None:
            with replacing(path) as stream:
                picture.save(stream, "PNG")
            return
    raise UnknownSampleError(
        f"`--picture` must be of a pair with regions whose bytes are held here; `{visible(explanation.asked)}` is "
        f"none in build `{explanation.build}`. Leave it out."
    )


def _names_of_file(sample: str) -> list[str]:
    """The names of a file's bytes in a build; nothing where `sample` is the path of none."""
    try:
        digest = file_hash(Path(sample))
    except (OSError, ValueError):  # no file, one that may not be read, or a text that can be no path
        return []
    return [digest, f"sha256:{digest}"]
