"""Serving of the page: a folder for its files, no network, until it is interrupted."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mmdisco.app.config import MEGABYTE, AppConfig
from mmdisco.app.workspace import Workspace, workspace
from mmdisco.errors import UserError

MISSING: Final = "the page needs Gradio: pip install 'mmdisco[app]'"
OFFLINE: Final = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
"""Nothing is looked up elsewhere, by Gradio or by the hub, unless the variable says so."""

_QUEUE: Final = 20  # requests that wait; the next one is told to come later
_HERE: Final = Path(__file__).parent
_FONTS: Final = ("system-ui", "sans-serif")
_COLOURS: Final = {  # Gradio's own are too faint to be read
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "*neutral_200",
    "block_title_text_color": "*neutral_800",
    "block_title_text_color_dark": "*neutral_100",
    "link_text_color_dark": "*primary_300",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*primary_600",
}


def serve(app: AppConfig, announce: Callable[[str], None]) -> None:
    """Serve the page until it is interrupted.

    Args:
        app: Options of the page.
        announce: Called with its address once it can be opened.

    Raises:
        UserError: Gradio is not installed, or the address cannot be had.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    with workspace(60.0 * app.keep_minutes) as made:
        os.environ["GRADIO_TEMP_DIR"] = str(made.uploads)
        close = start(app, made, announce)
        try:
            threading.Event().wait()
        finally:
            close()


def start(app: AppConfig, made: Workspace, announce: Callable[[str], None]) -> Callable[[], None]:
    """Start to serve the page, and return what ends it.

    Raises:
        UserError: As in ``serve``.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError(MISSING) from error
    from mmdisco.app.page import build
    from mmdisco.app.studio import Studio

    studio = Studio(app, made)
    # a mistake in its options is said before the page is there
    own = studio.system(app.system)
    if app.preset is None:
        own.sampling()  # reads what lies in both folders
    page = build(app, studio).queue(max_size=_QUEUE, api_open=False)
    theme = gr.themes.Default(
        primary_hue="blue", font=_FONTS, font_mono=("ui-monospace", "monospace")
    ).set(**_COLOURS)
    try:
        _, url, _ = page.launch(
            server_name=app.host,
            server_port=app.port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            allowed_paths=[str(made.clips)],
            max_file_size=app.max_upload_size * MEGABYTE,
            theme=theme,
            css=(_HERE / "page.css").read_text("utf-8"),
            head=f"<script>{(_HERE / 'page.js').read_text('utf-8')}</script>",
        )
    except OSError as error:
        raise UserError(
            f"{app.host}:{app.port} cannot be had: choose another --port or --host"
        ) from error
    announce(url)
    return page.close
