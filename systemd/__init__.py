"""Units and the like for systemd, as data: `inboxd install-units` copies them to where systemd looks."""
