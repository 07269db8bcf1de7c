"""``python -m remanence.claims``: run all claims, or some, and write the docs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from remanence.claims.engine.command import prove_all
from remanence.claims.engine.docs import write
from remanence.claims.engine.results import read
from remanence.errors import RemanenceError


def main() -> int:
    """Run and write; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m remanence.claims", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="systems whose claims to run")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seeds", type=int, default=None, help="paired runs, 5 or more")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where claims.md and the pages of rooms go")
    parser.add_argument("--fresh", action="store_true", help="run again what lies in runs/claims or was judged")
    parser.add_argument("--no-audit", action="store_true", help="leave out the five fresh seeds for what is shown")
    parser.add_argument("--pages", action="store_true", help="run nothing, write the pages anew from what is kept")
    given = parser.parse_args()
    try:
        if given.pages:
            write(given.docs, read())
            return 0
        prove_all(
            given.only,
            jobs=max(1, given.jobs),
            seeds=given.seeds,
            fresh=given.fresh,
            audit=not given.no_audit,
            docs=given.docs,
        )
    except RemanenceError as error:
        print(f"remanence: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the runs that are finished", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
