"""Weakly supervised localization: Grad-CAM of a fine-tuned classifier, boxes from its maps, hits against real boxes."""
