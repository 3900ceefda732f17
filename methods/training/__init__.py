"""The pretraining loop: one for every objective. ``methods.pretext`` is its front door."""
