"""``mmdisco app``: the page in a browser."""

from typing import Annotated, Any

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import running

KEPT = "uploads and clips of the page are deleted: `mmdisco app` begins another"


@options_of("mmdisco.app.config:AppConfig", without=("as_released", "joint_model"))
def app(
    threads: Threads = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    **options: Any,
) -> None:
    """Serve a page in which clips are made, heard, compared and looked into.

    It works without a network. Files that are uploaded stay in a folder of their own, which is
    emptied. One clip is made at a time; others wait.
    """
    from mmdisco.app.config import AppConfig
    from mmdisco.cli.config_options import given

    def announce(url: str) -> None:
        typer.echo(f"mmdisco: {url} is open; Ctrl-C ends it", err=True)
        if open_page:
            typer.launch(url)

    config = AppConfig(**given(options))
    with running(KEPT, threads):
        # Gradio takes seconds to import, which a mistake need not wait for
        from mmdisco.app.serve import serve

        serve(config, announce)
