"""A short run of `make fuzz`."""

from tests.contract.fuzz import fuzz


def test_what_comes_back_is_as_described(database, tmp_path):
    """Over a thousand requests, right and wrong, alone and one after another: no failure of any check."""
    code, report, output = fuzz(database, tmp_path / "data", "--max-examples", "2", "--seed", "1")
    assert code == 0, output.read_text()
    assert report["operations"]["tested"] == report["operations"]["total"]
    assert report["test_cases"]["generated"] > 1000
