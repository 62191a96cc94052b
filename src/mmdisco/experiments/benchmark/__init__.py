"""What a guided step costs, part by part."""
