"""The way back in for an administrator who lost the password, with the server's own files in hand.

For a server that is not running, or whose database several programs may use at once.
"""

from aimindserve.boot.places import places_of
from aimindserve.boot.settings import Settings
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.secrets import read_or_create
from aimindserve.server.auth.bootstrap import forget_initial_password, reset_admin_password
from aimindserve.server.auth.passwords import Passwords
from aimindserve.server.auth.sessions import Sessions
from aimindserve.store.resources import ResourceStore
from aimindserve.store.urls import backing_for


async def new_admin_password(settings: Settings, user: str) -> str:
    """Give `user` a random password that must be changed, end its sessions; returns the password.

    Raises NotFoundError for an unknown user, StoreUnavailableError when the database is in use.
    """
    places, clock = places_of(settings), SystemClock()
    store = ResourceStore(backing_for(settings.server.database_url), clock)
    await store.open()
    try:
        pepper = read_or_create(places.pepper).encode()
        password = await reset_admin_password(
            store, Passwords(), Sessions(store, clock, pepper), user=user
        )
        forget_initial_password(places.data_dir, user)
    finally:
        await store.close()
    return password
