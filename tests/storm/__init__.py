"""A storm over the store: children and drivers are killed, the disk fills, clocks jump and directories lag behind."""
