"""Environments of peers: each beside this file, nothing of it kept in the repository, with torch borrowed from here."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

FOLDER = Path(__file__).parent / ".env"


def borrowing(environment: Path) -> Path:
    """The Python of a new environment that sees what is installed in the one that runs this."""
    venv.create(environment, with_pip=True)
    borrowed = Path(sysconfig.get_path("purelib", vars={"base": str(environment)})) / "zz-borrowed.pth"
    borrowed.write_text(f"{sysconfig.get_path('purelib')}\n")
    return environment / "bin" / "python"
