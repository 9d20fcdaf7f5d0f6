"""`python -m tests.quality`: see `measure`."""

import sys

from tests.quality.measure import main

sys.exit(main())
