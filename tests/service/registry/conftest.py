from tests.conftest import database

__all__ = ["database"]  # the registry by itself, on a database that no service works on meanwhile
