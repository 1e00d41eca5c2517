"""The web pages: server-rendered, offline, under a strict content policy; calls control in-process."""
