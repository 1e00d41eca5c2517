"""Who is it: people, services, keys, sessions."""
