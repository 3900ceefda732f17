"""Recipes: how an entry of the registry becomes a plan. One module each, none imports torch."""
