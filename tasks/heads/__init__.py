"""Heads: what is put on a backbone to fine-tune it, on images and on patches."""
