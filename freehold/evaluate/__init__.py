"""How good, for whom: metrics, gates, cards."""
