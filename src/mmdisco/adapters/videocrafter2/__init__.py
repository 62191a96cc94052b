"""VideoCrafter2: its weights and their names, its noise levels, networks of diffusers."""
