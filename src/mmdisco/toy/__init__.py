"""Small problems with a known answer: every law, score and log ratio in closed form."""
