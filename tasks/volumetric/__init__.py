"""How an encoder is judged on volumes: options, augmentation, heads, scores, and the two transfers."""
