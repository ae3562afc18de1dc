"""The commands of the README are run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from safetensors import safe_open

from tests.acceptance.conftest import Stack

README = Path(__file__).parents[2] / "README.md"


def test_the_walkthrough_of_the_readme_ends_with_a_new_version(embedded: Stack, tmp_path: Path) -> None:
    parts = re.findall(r"<!-- executed.*?-->(.*?)<!-- to here", README.read_text(), flags=re.DOTALL)
    commands = "".join("".join(re.findall(r"```bash\n(.*?)```", part, flags=re.DOTALL)) for part in parts)
    assert "curl" in commands
    assert "structguard forget" in commands
    environment = os.environ | {
        "SERVER": embedded.url,
        "STRUCTGUARD_SERVER": embedded.url,
        "STRUCTGUARD_API_KEY": embedded.key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=environment, check=True, timeout=540)

    for name in ("digits-v2", "handwriting-v2"):
        with safe_open(tmp_path / f"{name}.safetensors", framework="np") as checkpoint:
            assert "linear.weight" in checkpoint.keys()  # noqa: SIM118  (it is no dictionary)
