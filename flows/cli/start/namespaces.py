"""The namespace of a workspace at a Prefect server: pool, queues, deployments and automations by its name."""

import getpass
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, CompoundTrigger, EventTrigger, Posture

from evenly.flows.cli.classes.class_list import EVENT
from evenly.flows.cli.errors import UsageError
from evenly.options import LanguageModelOptions
from evenly.tasks.server.events import WORKSPACE, AuditFailed

TAG = "evenly"
"""Of all deployments of ours, and so of their runs."""
WORKSPACE_QUEUE = "_workspace"
"""The work queue of what a workspace has beside its recipes, each of which has one by its name. None begins so."""
OWNER_VARIABLE = "EVENLY_OWNER"
"""Names whose deployments are, where user@host does not: a container has another host name each time."""
PROCESS = "process"
"""The type of work pools whose runs are processes."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OTHERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """The names of what a workspace has at a server, and whose it is; `root` is a path or a URL."""

    name: str
    pool: str
    root: str
    owner: str

    @property
    def tag(self) -> str:
        """The tag of deployments and runs that work in the workspace."""
        return f"workspace:{self.root}"

    @property
    def deployed_by(self) -> str:
        """The last sentence of the description of its deployments."""
        return f"Deployed by {self.owner}."

    def owns(self, stored: DeploymentResponse) -> bool:
        """Whether a deployment of the server is ours: of this workspace, and in a folder of this owner as well."""
        is_shared = "://" in self.root
        return self.tag in stored.tags and (is_shared or (stored.description or "").endswith(self.deployed_by))


def namespace_of(root: str, *, name: str | None = None, pool: str | None = None) -> Namespace:
    """The namespace of the workspace at `root`, by default named as the folder or the bucket's prefix that it lies in.

    Raises UsageError for a name that is none.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"`--namespace` must be at most 63 of a-z, 0-9 and `-`, as `birds`; got `{name}`. Correct it.")
    owner = os.environ.get(OWNER_VARIABLE) or f"{_user()}@{socket.gethostname()}"
    chosen = name or _OTHERS.sub("-", _place_of(root).lower()).strip("-")[:63].strip("-") or TAG
    return Namespace(name=chosen, pool=pool or f"{TAG}-{chosen}", root=root, owner=owner)


def check_ours(namespace: Namespace, stored: DeploymentResponse, name: str) -> None:
    """Raise UsageError for a deployment that is another's, with whose it is."""
    if namespace.owns(stored):
        return
    owner = re.search(r"Deployed by (.+)\.$", stored.description or "")
    workspace = next((tag for tag in stored.tags if tag.startswith("workspace:")), "workspace: not known")
    raise UsageError(
        f"`{name}` must be a deployment of `{namespace.owner}` with the workspace `{namespace.root}`, or not be there; "
        f"got one of `{owner[1] if owner else 'somebody'}` with the {workspace.replace(':', ' `', 1)}`. Choose another "
        "--namespace, or take it over with --replace."
    )


def _place_of(root: str) -> str:
    if "://" not in root:
        return PurePosixPath(root).parent.name
    place = urlsplit(root)
    return PurePosixPath(place.path).name or place.netloc


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


HEARTBEAT_S = 30
_SILENCE_S = 6 * HEARTBEAT_S
_RUN = "prefect.flow-run."
_ENDS = ("Completed", "Cached", "Failed", "Cancelled", "Crashed")
_PAYLOAD = ("name", "text", "methods", *(field.name for field in fields(LanguageModelOptions)))
"""What `evenly describe --submit` sends: parameters of the flow describe-classes."""


def crashed_runs(namespace: Namespace) -> AutomationCore:
    """End the runs that have stopped to report: those of a machine that died, or of a worker that was killed.

    A worker that was killed when it had just taken a run has left it Pending. Only a process begins at once then.
    """
    ours = {"prefect.resource.id": f"prefect.tag.{namespace.tag}", "prefect.resource.role": "tag"}
    of_processes = {"prefect.work-pool.type": PROCESS, "prefect.resource.role": "work-pool"}

    def unless_it_reports(after: str, *reports: str, related: list[dict[str, str]]) -> EventTrigger:
        return EventTrigger(
            after={f"{_RUN}{after}"},
            expect={f"{_RUN}{report}" for report in (*reports, *_ENDS)},
            match={"prefect.resource.id": f"{_RUN}*"},
            match_related=related,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=_SILENCE_S),
        )

    return AutomationCore(
        name=f"evenly {namespace.name}: end runs that stopped reporting",
        description=f"A run in {namespace.root} that has not reported for {_SILENCE_S} s makes way for the next.",
        trigger=CompoundTrigger(
            require="any",
            triggers=[
                unless_it_reports("heartbeat", "heartbeat", related=[ours]),
                unless_it_reports("Pending", "Running", "Scheduled", related=[ours, of_processes]),
            ],
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"It has not reported for {_SILENCE_S} s: its process or its machine has ended. What it "
                "finished is kept, and the next run goes on from there.",
            )
        ],
    )


def submitted_lists(namespace: Namespace, describe: UUID) -> AutomationCore:
    """Run the deployment `describe` when a class list is submitted for the workspace."""
    return _run_at_event(
        namespace,
        "describe submitted class lists",
        description="What `evenly describe CLASSES --submit` has submitted.",
        event=(EVENT, "evenly.class-list.*"),
        deployment=describe,
        parameters=_PAYLOAD,
    )


def failed_audits(namespace: Namespace, hold: UUID) -> AutomationCore:
    """Run the deployment `hold` when a latest build of the workspace does not verify."""
    return _run_at_event(
        namespace,
        "hold promotions after a failed audit",
        description="Rebuilds of the recipe publish without moving `latest`, until `evenly promote BUILD`.",
        event=(AuditFailed.event, "evenly.build.*"),
        deployment=hold,
        parameters=("build", "findings", "root"),
    )


def _run_at_event(
    namespace: Namespace,
    title: str,
    *,
    description: str,
    event: tuple[str, str],
    deployment: UUID,
    parameters: Sequence[str],
) -> AutomationCore:
    """Run a deployment with parameters of the payload of an event of resources. It goes when that deployment goes."""
    return AutomationCore(
        name=f"evenly {namespace.name}: {title}",
        description=description,
        trigger=EventTrigger(
            expect={event[0]},
            match={"prefect.resource.id": event[1], WORKSPACE: namespace.root},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment(deployment_id=deployment, parameters={name: _of_payload(name) for name in parameters})],
        owner_resource=f"prefect.deployment.{deployment}",
    )


def put_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Make an automation, or bring the one of its name up to date; one that was switched off stays so.

    One that is up to date is left alone: the server would forget what it has seen, such as runs that reported until
    their worker was killed a minute ago.
    """
    stored = client.read_automations_by_name(automation.name)
    if automation.owner_resource is not None:  # `prefect deploy` may have made another for the same deployment
        client.delete_resource_owned_automations(automation.owner_resource)
    wanted = automation.model_copy(update={"enabled": all(rule.enabled for rule in stored)})
    if stored and automation.owner_resource is None:
        if _content(stored[0]) == _content(automation):
            return
        client.update_automation(stored[0].id, AutomationCore(**wanted.model_dump(exclude={"owner_resource"})))
    else:
        client.create_automation(wanted)


def _content(automation: AutomationCore) -> dict[str, object]:
    """The content of an automation, at the server or not there yet; not whether it is on."""
    return automation.model_dump(include={"description", "trigger", "actions"})


def _of_payload(name: str) -> dict[str, object]:
    template = f"{{{{ event.payload.{name} | tojson }}}}"
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}
