"""``python -m voxmix``."""

from voxmix.cli import main

main()
