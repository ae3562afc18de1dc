"""The documentation does not rot; what it says of the code, tests/test_architecture_page.py holds."""

import re
from pathlib import Path

import pytest

from service.settings import ServiceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "RESULTS.md"])
SETTINGS = sorted(ServiceSettings.model_fields.keys() | WorkerSettings.model_fields.keys())


def test_the_readme_is_for_somebody_in_a_hurry() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `STRUCTGUARD_{name.upper()}` |" in (ROOT / "docs" / "settings.md").read_text()


def test_every_documented_setting_exists() -> None:
    pages = "".join(page.read_text() for page in PAGES if page.name != "CHANGELOG.md")
    assert {name.lower() for name in re.findall(r"`STRUCTGUARD_([A-Z_]*[A-Z])[`=]", pages)} - CLIENT <= set(SETTINGS)


#: What the command line reads.
CLIENT = {"server", "api_key"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page)):
        if not target.startswith(("http://", "https://")):
            path, _, heading = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), target
            assert not heading or heading in _headings(found), target


def _headings(page: Path) -> set[str]:
    """As GitHub names them in links."""
    titles = re.findall(r"^#+ (.*)$", _without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _without_code(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
