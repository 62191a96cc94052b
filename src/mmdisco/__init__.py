"""MMDisCo."""
