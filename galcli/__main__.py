"""Run galcli as ``python -m galcli``."""

from galcli.cli import main

main()
