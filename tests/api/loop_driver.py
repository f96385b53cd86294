"""What a notebook does, without one: calls from where an event loop runs; prints what is left running.

python loop_driver.py RECIPE ROOT CHAT_URL
"""

import asyncio
import json
import sys
import warnings

import psutil

from tests.api.conftest import ColourEncoder


async def cell(recipe: str, root: str, chat_url: str) -> dict[str, object]:
    """Two rebuilds and a description, as in a cell: synchronous calls while the loop runs."""
    import evenly

    first = evenly.rebuild(recipe, root=root, quiet=True)
    again = evenly.rebuild(recipe, root=root, quiet=True)
    described = evenly.describe(
        ["robin", "wren"], methods=["description"], base_url=chat_url, model="tiny", root=root, name="birds"
    )
    return {"build": first.id, "again": again.id, "kept": first.kept, "texts": described.texts()}


def main() -> None:
    """Run the cell; what it gave, and the children that are left, as JSON."""
    import evenly.tasks.encoders

    warnings.simplefilter("error", RuntimeWarning)  # a coroutine that nobody awaits
    evenly.tasks.encoders._load = lambda _choice, _cache: ColourEncoder()
    found = asyncio.run(cell(*sys.argv[1:]))
    children = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    sys.stdout.write(json.dumps(found | {"children": children}))


if __name__ == "__main__":
    main()
