"""What a network sees: batches of images or of patches, augmented by draws that are a function of names."""
