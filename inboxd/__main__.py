"""`python -m inboxd` is the command `inboxd`."""

from inboxd.daemon.cli import main

main()
