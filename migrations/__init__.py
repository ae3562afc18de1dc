"""Schema migrations, run by `alembic upgrade head` or by `service.registry.storage.schema`."""
