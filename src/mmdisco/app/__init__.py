"""The page of ``mmdisco app``: requests from a browser to clips, by the way of the command.

Only ``page.py`` and ``serve.py`` import Gradio, which is in the extra ``app``.
"""
