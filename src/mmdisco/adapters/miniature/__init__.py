"""The miniature pair that ships with the package: its networks and their weights."""
