"""How an encoder is obtained: recipes, pretext terms, networks, views, the pretraining loop."""
