"""`evenly why`: the history of a sample that is named by what people know it by."""

from dataclasses import replace
from pathlib import Path

from evenly.audit.errors import UnknownSampleError
from evenly.audit.explanation import Explanation
from evenly.audit.published import PublishedBuild
from evenly.audit.why import explain, unknown_sample
from evenly.signatures import Place
from evenly.storage.builds import LATEST, Builds
from evenly.storage.exports.export import whole_file_hash
from evenly.storage.workspace import Workspace


def explain_sample(sample: str, *, build: str | None, root: Place | None, replay: bool) -> Explanation:
    """The history of the pairs of a uid, URL, file name or id; of a file that is none of these, by its bytes.

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
    raise unknown_sample(PublishedBuild(workspace, builds.read(names[0])), sample)


def _names_of_file(sample: str) -> list[str]:
    """What a build calls the bytes of a file; nothing where `sample` is the path of none."""
    try:
        digest = whole_file_hash(Path(sample))
    except OSError:  # a text that is too long for a path, or a file that may not be read
        digest = None
    return [] if digest is None else [digest, f"sha256:{digest}"]
