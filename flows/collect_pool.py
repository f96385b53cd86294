"""Take a pool as it is into a workspace, for `evenly retrieve`: a build of all its pairs of picture and caption."""

from pathlib import Path

from evenly.curation.encoder_name import EncoderName
from evenly.curation.reservations.rule import PoolDownload
from evenly.flows.cli.errors import UsageError
from evenly.flows.rebuild_dataset import open_rebuild
from evenly.flows.recipe import Recipe, RecipeFeatures, Source
from evenly.flows.recipe.curation import Curate
from evenly.flows.runs import open_run
from evenly.storage.pools.rows import file_kind
from evenly.storage.workspace import Workspace, writing
from evenly.tasks.server.jobs import job
from evenly.tasks.stage import run_steps

AS_IT_IS = Curate(download=PoolDownload())


@job("collect-pool", flow_run_name="collect {source.path}")
def collect_pool(
    source: Source,
    features: RecipeFeatures = RecipeFeatures(),  # noqa: B008 - frozen
    root: str | None = None,
    quiet: bool = False,
) -> str:
    """Rebuild by a recipe that only collects and decodes, and encodes with `features`; the id of the build.

    `latest` stays where it is. Raises WriterError where another process does the same there.
    """
    recipe = Recipe(name="pool", seed=0, sources=(source,), curate=AS_IT_IS, features=features)
    with (
        writing(Workspace.at(root), recipe.name),
        open_run(recipe, root=root, quiet=quiet) as run,
        open_rebuild(run, recipe) as rebuild,
    ):
        return rebuild.publish(run_steps(rebuild.run, rebuild.steps, rebuild.engine), promote=False).build


def pool_source(pool: str, features: RecipeFeatures, *, caption: str | None, vector: str | None) -> Source:
    """The source that a path or pattern names: .tar files, .parquet files of `features`, else folders of pictures."""
    kind = file_kind(Path(pool))
    if kind == "parquet":
        encoder = EncoderName(model=features.model, pretrained=features.pretrained)
        return Source(kind="features", path=pool, caption=caption, vector=vector, encoder=encoder)
    if vector is not None:
        raise UsageError(f"`--vector` must go with a `--pool` of .parquet files; got `{pool}`. Leave it out.")
    if kind == "tar":
        return Source(kind="webdataset", path=pool, caption=caption)
    if Path(pool).expanduser().is_file():
        raise UsageError(
            f"`--pool` must be folders of pictures, .tar shards, or .parquet files of captions and features; got "
            f"`{pool}`. Pictures of a table of URLs are downloaded by a recipe: `evenly init`, then `evenly rebuild`."
        )
    return Source(kind="folder", path=pool, caption=caption)
