"""Run every benchmark, each in a process of its own; the exit code says whether all targets hold."""

import subprocess
import sys
from pathlib import Path

subjects = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
missed = [name for name in subjects if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
sys.exit(f"targets missed in {', '.join(missed)}" if missed else 0)
