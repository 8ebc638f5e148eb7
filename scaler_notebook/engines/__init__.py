"""What runs tasks. One small interface (:mod:`.base`); ``local`` is the default engine."""
