from service.registry.storage import schema
from service.registry.storage.database import Database


def test_a_database_is_brought_up_to_date_by_hand(structguard, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path / "data"))
    assert structguard("migrate", "--json").document == {"migrated": True}
    database = Database(f"sqlite:///{tmp_path / 'data' / 'registry.sqlite'}")
    assert schema.is_current(database)
    database.close()


def test_a_database_that_is_away_is_named_as_the_reason(structguard, monkeypatch):
    monkeypatch.setenv("STRUCTGUARD_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:1/nowhere")
    ran = structguard("migrate")
    assert ran.code == 1
    assert "The database cannot be prepared." in ran.err
