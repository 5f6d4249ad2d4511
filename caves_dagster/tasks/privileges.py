"""What Snowflake says when a role may not do something with tasks, as what to have granted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from caves_dagster.errors import PrivilegeMissing, StatementFailed
from caves_dagster.settings import SnowflakeSettings
from caves_dagster.shop import Shop

_REFUSED = re.compile(
    r"insufficient privileges|privilege must be granted|access control error", re.IGNORECASE
)


@contextmanager
def naming_privileges(settings: SnowflakeSettings, shop: Shop) -> Iterator[None]:
    """Name the grants that a refused statement about tasks needs.

    Raises:
        PrivilegeMissing: Snowflake refused for want of a privilege.
    """
    try:
        yield
    except StatementFailed as error:
        if not _REFUSED.search(error.problem):
            raise
        role = settings.role or "<role>"
        whose = f"The role {settings.role}" if settings.role else f"The default role of {settings.user}"
        raise PrivilegeMissing(
            f"{whose} may not do that with the tasks of {shop.name}. {error.problem}",
            f"Let an administrator run: GRANT EXECUTE TASK ON ACCOUNT TO ROLE {role}; GRANT CREATE TASK ON "
            f"SCHEMA {settings.database}.{shop.raw.schema} TO ROLE {role}; GRANT USAGE ON WAREHOUSE "
            f"{settings.warehouse} TO ROLE {role};",
        ) from error
