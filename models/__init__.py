"""The catalogue of networks and how their weights are read."""
