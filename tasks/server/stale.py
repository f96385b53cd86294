"""Latest builds with which no rebuild has ended for longer than their recipe's `max_age`: told of once."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from evenly.bounds import duration_s
from evenly.storage.builds import Builds
from evenly.storage.records import create_record
from evenly.storage.run_records import RunRecord, read_runs
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run
from evenly.tasks.server.api import part, run_id
from evenly.tasks.server.builds import report_line
from evenly.tasks.server.events import BuildStale, emit
from evenly.tasks.server.notices import Notice, send_notice

_CURRENT = ("published", "unchanged")


@dataclass(frozen=True, kw_only=True)
class StaleBuild:
    """A latest build of a recipe that is too old.

    since: when a rebuild last ended with it. stated: the newest run that read the recipe; newest: the newest of all.
    """

    build: str
    since: datetime
    stated: RunRecord
    newest: RunRecord

    @property
    def text(self) -> str:
        """The age, and how the newest run ended, in a line."""
        end = f"{self.newest.outcome} on {self.newest.ended[:16].replace('T', ' ')} UTC"
        error = f": {self.newest.error}" if self.newest.error else ""
        return (
            f"stale: {self.build}, with which no rebuild has ended since {self.since:%Y-%m-%d %H:%M} UTC, longer than "
            f"`max_age` {self.stated.max_age}. The last run of {self.newest.recipe}: {end}{error}"
        )


@part("look for stale builds")
def tell_stale_builds(run: Run) -> list[str]:
    """The latest builds that are stale now; of each an event and a notice, once, and a line in the log."""
    stale = list(stale_builds(run.workspace, datetime.now(UTC)))
    for old in stale:
        recipe, max_age, root = old.stated.recipe, str(old.stated.max_age), str(run.workspace.root)
        run.progress.warn(f"{'audit':<24} {old.text}")
        since = old.since.isoformat(timespec="seconds")
        if create_record(run.workspace.runs / recipe / "stale" / f"{old.build}.json", {"since": since}):
            emit(BuildStale(build=old.build, recipe=recipe, max_age=max_age, since=since, root=root))
            report, number = report_line(run, old.build), str(run_id())
            notice = Notice(event="stale", recipe=recipe, text=old.text, run=number, report=report)
            send_notice(notice, old.stated.blocks, run.progress.warn)
    return [old.build for old in stale]


def stale_builds(workspace: Workspace, looked: datetime) -> Iterator[StaleBuild]:
    """The latest build of each recipe that is stale when it is `looked` at.

    The newest run that read the recipe states its `max_age`: one that failed without any may not have come so far.
    """
    builds = Builds(workspace)
    for build in builds.latest_of_each():
        manifest = builds.read(build)
        runs = list[RunRecord]()  # the newest, as far as is needed
        for record in read_runs(workspace, str(manifest["recipe_name"])):
            runs.append(record)
            if record.build == build and record.outcome in _CURRENT:
                break
        stated = next((record for record in runs if record.max_age or record.build), None)
        if stated is None or stated.max_age is None:
            continue
        ends = [record.ended for record in runs[-1:] if record.build == build and record.outcome in _CURRENT]
        since = max(map(datetime.fromisoformat, (str(manifest["created"]), *ends)))
        if since < looked - timedelta(seconds=duration_s(stated.max_age)):
            yield StaleBuild(build=build, since=since, stated=stated, newest=runs[0])
