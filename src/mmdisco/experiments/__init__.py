"""Experiments on the library: nothing but the command line imports them."""
