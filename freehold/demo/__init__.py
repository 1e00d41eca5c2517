"""The whole story on data of our own: a small insurer's inbox, and one real medical table."""
