"""What a fine-tuned model is worth: predictions, their losses, scores and localization."""
