"""Building the page, serving it, and ending both."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import RunError
from ovrecipe_gradio.settings import Defaults

if TYPE_CHECKING:
    import gradio as gr

    from ovrecipe_gradio.catalog import Catalog
    from ovrecipe_gradio.engine import Engine
    from ovrecipe_gradio.turn import Choice

LOOPBACK = "127.0.0.1"
STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("page.js")
#: Nothing that an answer says can make a browser ask another host.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; form-action 'self'; frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Address:
    """Where the page is; `shared` is a public link, which exists only when asked for."""

    local: str
    shared: str | None


def switch_off_analytics(env: MutableMapping[str, str]) -> None:
    """Set what gradio and the hub's client look at; call it before gradio is imported."""
    env.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")


def build(catalog: Catalog, engine: Engine, choice: Choice) -> gr.Blocks:
    """Return the page; nothing is served yet."""
    import gradio as gr

    from ovrecipe_gradio.handlers import Handlers, wire
    from ovrecipe_gradio.page import lay_out

    defaults = Defaults.of(catalog.starts_at)
    blocks: gr.Blocks
    with gr.Blocks(title=f"{catalog.recipe.name} - ovrecipe", analytics_enabled=False) as blocks:
        page = lay_out(catalog, choice, defaults)
        wire(blocks, page, Handlers(page, engine, catalog))
    return blocks


def launch(
    blocks: gr.Blocks, *, host: str = LOOPBACK, port: int | None = None, share: bool = False
) -> Address:
    """Serve the page on threads of its own and return where.

    Raises:
        RunError: the port is taken, or the host is not this machine's.
    """
    try:
        _, local, shared = blocks.launch(
            server_name=host,
            server_port=port,
            share=share,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            footer_links=[],
            theme=_theme(),
            css_paths=STYLE,
            head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
            max_file_size="1kb",
            app_kwargs={"middleware": _middleware()},
        )
    except (OSError, ValueError, RuntimeError) as exc:
        raise RunError(
            f"the page cannot be served on {host}{f' port {port}' if port else ''}: {exc}",
            remedy="choose another --port or --host",
        ) from exc
    return Address(local, shared or None)


def _theme() -> Any:
    """Return system fonts and a quiet blue: no font is fetched from anywhere."""
    import gradio as gr

    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "Consolas", "Liberation Mono", "monospace")
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=[gr.themes.Font(font) for font in sans],
        font_mono=[gr.themes.Font(font) for font in mono],
    )
    # Base's greys and its blue are too pale to be read on white.
    return theme.set(
        body_text_color_subdued="*neutral_600",
        block_title_text_color="*neutral_700",
        block_label_text_color="*neutral_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


def _middleware() -> list[Any]:
    from starlette.middleware import Middleware

    return [Middleware(OnlyThisHost)]


class OnlyThisHost:
    """ASGI middleware that adds the content security policy to every response."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and its response back with the header."""

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await self._app(scope, receive, sent)
