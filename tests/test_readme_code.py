"""What README.md shows of Python runs as it stands, on MNIST, and gives about the numbers that stand beside it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = [block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "import fastmlp" in block]


def test_python_of_the_readme_runs_and_gives_what_it_says(tmp_path):
    script = tmp_path / "readme.py"
    script.write_text("\n".join([*CODE, "print(net, data.x_test.shape)"]))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    validation, evaluation, classes, network = done.stdout.splitlines()
    said = [float(number) for number in re.findall(r"0\.\d{4}", "".join(re.findall(r"# (.*)", CODE[0])))]
    found = [float(validation), *(float(number) for number in re.findall(r"\d\.\d+", evaluation))]
    assert len(said) == len(found) == 3
    assert all(abs(ours - theirs) < 0.005 for ours, theirs in zip(found, said, strict=True))
    assert classes in TEXT
    assert network.startswith("Network(784-300-10, swish")
