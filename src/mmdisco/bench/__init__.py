"""What a guided sampling step costs, part by part, at full size and without any weights."""
