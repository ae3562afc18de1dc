"""The commands of the README's walk-through are run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from tests.acceptance.conftest import Stack

README = Path(__file__).parents[2] / "README.md"


def test_the_walkthrough_of_the_readme_ends_with_a_new_version(embedded: Stack, tmp_path: Path) -> None:
    walkthrough = README.read_text().partition("from here -->")[2].partition("<!-- to here")[0]
    commands = "".join(re.findall(r"```bash\n(.*?)```", walkthrough, flags=re.DOTALL))
    environment = os.environ | {
        "SERVER": embedded.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=environment, check=True, timeout=280)

    with safe_open(tmp_path / "digits-v2.safetensors", framework="np") as checkpoint:
        assert "linear.weight" in checkpoint.keys()  # noqa: SIM118  (it is no dictionary)
