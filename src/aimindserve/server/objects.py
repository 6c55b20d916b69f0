"""Typed readings of the store: the store knows objects, these know their kinds."""

from collections.abc import Sequence
from typing import cast

from aimindserve.resources._kind import Resource
from aimindserve.resources.api_key import ApiKeySpec, ApiKeyStatus
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.model_file import ModelFileSpec, ModelFileStatus
from aimindserve.resources.session import SessionSpec, SessionStatus
from aimindserve.resources.user import Role, UserSpec, UserStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.store.base import Store

ApiKey = Resource[ApiKeySpec, ApiKeyStatus]
Instance = Resource[InstanceSpec, InstanceStatus]
ModelFile = Resource[ModelFileSpec, ModelFileStatus]
Session = Resource[SessionSpec, SessionStatus]
User = Resource[UserSpec, UserStatus]
Worker = Resource[WorkerSpec, WorkerStatus]


def find_user(store: Store, name: str) -> User | None:
    """The user or None."""
    return cast("User | None", store.find("user", name))


def find_api_key(store: Store, name: str) -> ApiKey | None:
    """The API key or None."""
    return cast("ApiKey | None", store.find("api-key", name))


def find_session(store: Store, name: str) -> Session | None:
    """The session or None."""
    return cast("Session | None", store.find("session", name))


def find_worker(store: Store, name: str) -> Worker | None:
    """The worker or None."""
    return cast("Worker | None", store.find("worker", name))


def find_model_file(store: Store, name: str) -> ModelFile | None:
    """The model file or None."""
    return cast("ModelFile | None", store.find("model-file", name))


def get_instance(store: Store, name: str) -> Instance:
    """The instance; raises NotFoundError."""
    return cast("Instance", store.get("instance", name))


def users(store: Store) -> Sequence[User]:
    """All users, by name."""
    return cast("Sequence[User]", store.list("user"))


def api_keys(store: Store) -> Sequence[ApiKey]:
    """All API keys, by name."""
    return cast("Sequence[ApiKey]", store.list("api-key"))


def sessions(store: Store) -> Sequence[Session]:
    """All sessions, by name."""
    return cast("Sequence[Session]", store.list("session"))


def workers(store: Store) -> Sequence[Worker]:
    """All workers, by name."""
    return cast("Sequence[Worker]", store.list("worker"))


def instances(store: Store) -> Sequence[Instance]:
    """All instances, by name."""
    return cast("Sequence[Instance]", store.list("instance"))


def model_files(store: Store) -> Sequence[ModelFile]:
    """All model files, by name."""
    return cast("Sequence[ModelFile]", store.list("model-file"))


def is_active_admin(spec: UserSpec) -> bool:
    """Whether somebody with this spec can administer."""
    return spec.role is Role.ADMIN and not spec.disabled
