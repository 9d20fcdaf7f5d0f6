"""`python -m augment`, which is also how torchrun starts the command in each of its processes."""

from augment.cli import main

main()
