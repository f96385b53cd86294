"""Duplicates of equal bytes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Flags, Floats, Ints, Words
from evenly.curation.columns import column
from evenly.curation.duplicates.image_duplicates import exact_reasons
from evenly.curation.duplicates.incremental import Pairs
from evenly.curation.duplicates.lsh import equal_runs, text_keys
from evenly.curation.duplicates.merging import Contents, uid_columns
from evenly.tasks.rebuild.duplicates.kinds import Kind, Rows, pairs_to_compare
from evenly.tasks.run import Records, Run


@dataclass(frozen=True, kw_only=True)
class EqualPictures:
    """n pictures by number: equal ones have one."""

    numbers: Ints

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """See lsh.equal_runs."""
        return equal_runs([self.numbers], usable)

    def equal_weights(self, left: Ints, _right: Ints) -> Floats:
        """The weights (m,) of links."""
        return np.zeros(len(left))

    def measure(self, left: Ints, _right: Ints) -> Floats:
        """The distances (m,): bytes are equal."""
        return np.zeros(len(left))


class Exact(Kind):
    """Pictures of equal bytes; a pair without a picture has no duplicates."""

    step, edge = "deduplicate_exact", "exact"

    def contents(self, run: Run, upstream: Records) -> Contents:
        """See Kind."""
        pairs = pairs_to_compare(run, upstream)
        images = column(pairs, "image_id", pa.string())
        columns = uid_columns(pairs)
        columns |= {"image": images, "url": column(pairs, "url", pa.string())}
        usable = images.is_valid().to_numpy(zero_copy_only=False)
        return Contents(columns=columns, keys=text_keys(images.fill_null("").to_pylist()), usable=usable)

    def compared(self, files: Rows, rows: Words) -> EqualPictures:
        """See Kind."""
        return EqualPictures(numbers=value_numbers(files.column("image", rows)))

    def reasons(self, files: Rows, merged: Words, survivors: Words) -> pa.Array:
        """See Kind."""
        rows, places = np.unique(survivors, return_inverse=True)
        survivor_urls = files.column("url", rows).take(pa.array(places))
        return exact_reasons(files.column("url", merged), survivor_urls).cast(pa.string())


def value_numbers(values: pa.Array) -> Ints:
    """A number (n,) for each value, one for equal values; -1 for null."""
    coded = values.dictionary_encode().indices.fill_null(-1)
    return np.asarray(coded.to_numpy(zero_copy_only=False), dtype=np.int64)
