"""Sounding objects: procedural clips whose sound follows from what is seen, endless and seeded."""
