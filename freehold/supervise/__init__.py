"""Starts, watches and drains the processes; holds the listening sockets, so that parts can come and go."""
