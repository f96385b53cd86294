"""The pictures of a build's kept pairs by their uids, read from its shards as they are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.features.refining.towers import ReadPictures
from evenly.storage.web.images import find_places, read_images
from evenly.tasks.labelled_rows import kept_pairs
from evenly.tasks.run import Run


def pictures_of(run: Run, manifest: Mapping[str, Any]) -> ReadPictures:
    """A reader of the files of pictures of the kept pairs of a build.

    Raises DownloadError where one came as features alone, or is gone.
    """
    kept = kept_pairs(run, manifest)
    image_ids = dict(zip(kept["uid"].to_pylist(), kept["image_id"].to_pylist(), strict=True))
    folder, distinct = run.workspace.downloads, sorted(set(image_ids.values()))
    places = find_places(folder, distinct)
    read_images(folder, distinct, places)  # which looks for all of them first

    def read(uids: Sequence[str]) -> list[bytes]:
        return list(read_images(folder, [image_ids[uid] for uid in uids], places))

    return read
