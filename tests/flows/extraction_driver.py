"""The `evenly` command with small partitions and chunks of features. Not a test: tests start it, workers import it.

Each chunk takes a moment longer, so that there is time to interrupt it.
"""

import time
from typing import Any

from evenly.flows.__main__ import main
from evenly.storage.feature_store import FeatureStore
from evenly.tasks import encoders, partitioning
from evenly.tasks.pictures import encoded

PAIRS = 200
partitioning.MOST_ROWS = PAIRS // 4
encoded.CHUNK = encoders.CHUNK = 8
append = FeatureStore.append


def slow_append(store: FeatureStore, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as they come
    append(store, *arguments, **options)
    time.sleep(0.05)


FeatureStore.append = slow_append  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
