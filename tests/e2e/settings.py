"""What the command line of `run.py` decided; read by the tests. Invariant: written once, before the first test."""

from pathlib import Path
from typing import Optional

binary: Path = Path("thalweg")
rounds: int = 3
seed: Optional[int] = None
