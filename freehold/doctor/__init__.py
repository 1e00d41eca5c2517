"""Every control is proved by its effect: what is forbidden is tried, in an installation made for it."""
