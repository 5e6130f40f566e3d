"""The schema as Alembic builds it from `migrations/`, on a connection that is open and locked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from pool.database import DatabaseError


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing; raises DatabaseError when a newer program made the schema."""
    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise DatabaseError(
            f"database schema: {error}; a newer dmpool made it: run that version or restore a backup"
        ) from error


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's configuration for our migrations on an open connection."""
    config = Config()
    config.set_main_option("script_location", "pool:migrations")
    config.attributes["connection"] = connection
    return config
