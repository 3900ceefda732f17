"""A trial: fine-tune an encoder on some labels of a task, and evaluate it on the test images."""
