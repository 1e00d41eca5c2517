"""The command line: thin words over the client; every heavy import is inside a command."""
