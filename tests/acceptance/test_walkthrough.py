"""The commands of the README, and of the page that goes on from there, are run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from tests.acceptance.conftest import Stack

ROOT = Path(__file__).parents[2]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "walk-through.md"


def test_the_walkthrough_ends_with_new_versions(embedded: Stack, tmp_path: Path) -> None:
    first, rest = executed(README), executed(PAGE)
    assert "curl" in first
    assert "structguard forget" in rest
    environment = os.environ | {
        "SERVER": embedded.url,
        "STRUCTGUARD_SERVER": embedded.url,
        "STRUCTGUARD_API_KEY": embedded.key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    commands = ["bash", "-euo", "pipefail", "-c", first + rest]
    subprocess.run(commands, cwd=tmp_path, env=environment, check=True, timeout=540)

    for name in ("first-v2", "handwriting-v2"):
        with safe_open(tmp_path / f"{name}.safetensors", framework="np") as checkpoint:
            assert "linear.weight" in checkpoint.keys()  # noqa: SIM118  (it is no dictionary)
    again, once = tmp_path / "first-v2-again.safetensors", tmp_path / "first-v2.safetensors"
    assert again.read_bytes() == once.read_bytes()  # the request that was sent again was the same one


def executed(page: Path) -> str:
    """The marked commands of a page."""
    parts = re.findall(r"<!-- executed.*?-->(.*?)<!-- to here", page.read_text(), flags=re.DOTALL)
    return "".join("".join(re.findall(r"```bash\n(.*?)```", part, flags=re.DOTALL)) for part in parts)
