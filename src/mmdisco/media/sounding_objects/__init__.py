"""Sounding objects: seeded scenes, their pixels, sound and captions."""
