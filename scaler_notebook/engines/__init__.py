"""What runs tasks. One small interface (:mod:`.base`); ``embedded`` is the default engine."""
