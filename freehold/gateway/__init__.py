"""The path of one request. Imports neither torch nor training code nor a database driver."""
