"""The namespace of a workspace at a Prefect server: pool, queues, deployments and automations by its name."""

import getpass
import os
import re
import socket
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from prefect.client.schemas.responses import DeploymentResponse

from evenly.flows.cli.errors import UsageError

TAG = "evenly"
"""Of all deployments of ours, and so of their runs."""
WORKSPACE_QUEUE = "_workspace"
"""The work queue of what a workspace has beside its recipes, each of which has one by its name. None begins so."""
OWNER_VARIABLE = "EVENLY_OWNER"
"""Names whose deployments are, where user@host does not: a container has another host name each time."""
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
