"""${message}"""

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Each step looks first whether it has been done."""
    ${upgrades if upgrades else "pass"}
