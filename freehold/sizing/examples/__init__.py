"""Four houses that do not exist, as `freehold advise --example` takes them."""
