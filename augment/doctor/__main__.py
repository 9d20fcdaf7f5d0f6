"""`python -m augment.doctor [--json]`: the doctor where not even the command's own packages are installed."""

from __future__ import annotations

import sys

from augment.doctor import examine
from augment.doctor.view import good, to_json, to_text


def main() -> int:
    """Print what is found; 1 where something is a problem."""
    found = examine()
    sys.stdout.write((to_json(found) if "--json" in sys.argv[1:] else to_text(found)) + "\n")
    return 0 if good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
