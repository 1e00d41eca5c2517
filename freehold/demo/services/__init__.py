"""Two services as their owners write them, beside this file as YAML."""
