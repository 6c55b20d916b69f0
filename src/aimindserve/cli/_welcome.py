"""What a person needs to know once everything is up: addresses, first password, how to join."""

from collections.abc import Callable

from aimindserve.boot.places import places_of
from aimindserve.boot.settings import Settings
from aimindserve.boot.welcome import is_reachable, join_command, local_url
from aimindserve.cli._output import aligned
from aimindserve.cli._text import say


def welcome(settings: Settings, tell: Callable[[str], None], language: str) -> None:
    """Tell it, line by line."""

    def text(key: str, **params: object) -> str:
        return say(language, key, **params)

    if settings.worker_only:
        tell(text("serves_server", server=settings.worker.server_url))
        return
    places, url = places_of(settings), local_url(settings)
    tell(text("ready_at", url=url))
    rows = [(text("tour_base_url"), f"{url}/v1")]
    if not settings.server.disable_openapi_docs:
        rows.append((text("tour_api"), text("tour_api_docs", url=url)))
    if places.admin_password.exists():
        how = text("tour_password", url=url, path=places.admin_password)
        rows.append((text("tour_sign_in"), how))
    if is_reachable(settings):
        rows.append((text("tour_join"), join_command(settings, show_token=False)))
    else:
        rows.append((text("tour_join"), text("no_join", host=settings.server.host)))
    if settings.general.token is None:
        rows.append((text("join_token"), text("token_in", path=places.token)))
    for line in aligned(rows).splitlines():
        tell(f"  {line}")
