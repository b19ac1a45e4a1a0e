"""Whether a host is what it says: enter at ``run.verify`` and ``same.same_model``."""
