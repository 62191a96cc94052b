"""From films to latents: what is there, what of it is of use, and shards of what models make of it.

Knows files of films, pairs and stores; knows no preset by name and no argument.
"""
