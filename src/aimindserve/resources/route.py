"""Route: a public model name, and what stands behind it."""

from pydantic import Field

from aimindserve.core.facts import Category
from aimindserve.resources._kind import Access, Kind, Part


class Target(Part):
    """A deployment behind a route, with its share of the traffic."""

    deployment: str
    weight: int = Field(default=1, ge=0, le=1000)


class RouteSpec(Part):
    """Written by the routes controller: one route of the deployment's name for each deployment."""

    targets: tuple[Target, ...] = ()


class RouteStatus(Part):
    """What the models behind the route can do."""

    categories: tuple[Category, ...] = ()
    """As the deployment says, else the model's files."""
    context_length: int = 0
    """Tokens that one request can have, prompt and answer together, where the model is placed; 0:
    it is placed nowhere, or has no such limit."""


PLUGIN = Kind(
    name="route",
    plural="routes",
    spec=RouteSpec,
    status=RouteStatus,
    title="A public model name and what stands behind it.",
    access=Access(read="user", write="none"),
    columns=(
        ("NAME", "metadata.name"),
        ("TARGETS", "spec.targets"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    gateway=(
        "metadata.created_at",
        "spec.targets",
        "status.categories",
        "status.context_length",
    ),
)
