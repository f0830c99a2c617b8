"""The application: which path does what. `make_app` is what another ASGI server runs as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ovrecipe.errors import EngineBusy, EngineFailed, OvrecipeError, RequestRefused
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TASKS, TaskName
from ovrecipe.run.openai.answers import error_body, told
from ovrecipe.run.openai.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
    read_request,
)
from ovrecipe.run.openai.vectors import EmbeddingRequest, RerankRequest
from ovrecipe_serve.answering import LEFT, Answering, ClientLeft, unless_left
from ovrecipe_serve.guard import BodyRefused, Guard, Limits, read_body
from ovrecipe_serve.metrics import Metrics

if TYPE_CHECKING:
    from starlette.requests import Request

    from ovrecipe_serve.models import Models
    from ovrecipe_serve.process import Asking, EngineProcess

PAGE = Path(__file__).with_name("page.html")
#: Nothing that an answer says can make a browser ask another host.
POLICY = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: When to ask again what found no place, in seconds.
RETRY_SECONDS = 1
#: Where models of each task are asked.
PATHS: Mapping[TaskName, str] = {
    GENERATION: "/v1/chat/completions",
    EMBEDDING: "/v1/embeddings",
    RERANK: "/v1/rerank",
}


class Server:
    """The paths of one server, and what they work with."""

    def __init__(self, models: Models, metrics: Metrics, limits: Limits) -> None:
        self.models, self.metrics, self.limits = models, metrics, limits
        self.draining = False

    async def chat(self, request: Request) -> Response:
        """Answer `/v1/chat/completions`."""
        return await self._answered(request, ChatRequest)

    async def completions(self, request: Request) -> Response:
        """Answer `/v1/completions`."""
        return await self._answered(request, CompletionRequest)

    async def _answered(
        self, request: Request, kind: type[ChatRequest | CompletionRequest]
    ) -> Response:
        asked = read_request(kind, await read_body(request, self.limits))
        question = asked.question()
        async with self._loaded(request, asked.model, GENERATION) as engine:
            answering = Answering(
                question,
                engine,
                chat=kind is ChatRequest,
                metrics=self.metrics,
                seconds=self.limits.seconds,
            )
            return await answering.respond(request)

    async def embeddings(self, request: Request) -> Response:
        """Answer `/v1/embeddings`."""
        body = await read_body(request, self.limits)
        asked: EmbeddingRequest = read_request(EmbeddingRequest, body)
        async with self._loaded(request, asked.model, EMBEDDING) as engine:
            asked.check_dimensions(engine.facts["dimensions"])
            query = asked.input_type == "query"
            found = await self._result(request, engine, engine.embed(asked.texts(), query=query))
        return JSONResponse(asked.answer(engine.job.model, found["vectors"], found["tokens"]))

    async def rerank(self, request: Request) -> Response:
        """Answer `/v1/rerank`."""
        body = await read_body(request, self.limits)
        asked: RerankRequest = read_request(RerankRequest, body)
        async with self._loaded(request, asked.model, RERANK) as engine:
            asking = engine.rerank(asked.query, asked.texts())
            found = await self._result(request, engine, asking)
        return JSONResponse(asked.answer(engine.job.model, found["ranked"], found["tokens"]))

    async def _result(
        self, request: Request, engine: EngineProcess, asking: Asking
    ) -> Mapping[str, Any]:
        """Return what is answered at once, and count it."""
        began, model = time.monotonic(), engine.job.model
        with asking:
            try:
                async with asyncio.timeout(self.limits.seconds):
                    found = await unless_left(request, asking.result())
            except ClientLeft:
                self.metrics.cancelled.labels(model).inc()
                raise
        self.metrics.duration.labels(model).observe(time.monotonic() - began)
        self.metrics.prompt_tokens.labels(model).inc(found["tokens"])
        return found

    @asynccontextmanager
    async def _loaded(
        self, request: Request, model: str, task: TaskName
    ) -> AsyncIterator[EngineProcess]:
        """Yield the loaded engine of a model; it stays loaded until the block ends.

        Raises:
            RequestRefused: it does something else than is asked here.
            OvrecipeError: there is no such model, or it cannot be loaded.
        """
        engine = self.models.named(model)
        if engine.job.task != task:
            does = TASKS[engine.job.task].does
            raise RequestRefused(
                f"model: {engine.job.model} {does}",
                remedy=f"ask it at {PATHS[engine.job.task]}",
                param="model",
            )
        with engine.wanted():
            await unless_left(request, self.models.load(engine))
            yield engine

    async def list_models(self, _: Request) -> Response:
        """Answer `/v1/models`."""
        return JSONResponse({"object": "list", "data": self.models.described()})

    async def one_model(self, request: Request) -> Response:
        """Answer `/v1/models/NAME`."""
        name = request.path_params["name"]
        engine = self.models.named(name)
        found = [one for one in self.models.described() if one["id"] == engine.job.model]
        return JSONResponse(found[0])

    async def tokenize(self, request: Request) -> Response:
        """Answer `/tokenize`: the tokens of a text, or of a conversation as the model sees it."""
        body = await read_body(request, self.limits)
        asked = read_request(TokenizeRequest, body)
        async with self._loaded(request, self._only(asked.model), GENERATION) as engine:
            with engine.tokenize(asked.asks()) as asking:
                tokens = (await unless_left(request, asking.result()))["tokens"]
        length = engine.facts.get("context_length")
        return JSONResponse({"tokens": tokens, "count": len(tokens), "max_model_len": length})

    async def detokenize(self, request: Request) -> Response:
        """Answer `/detokenize`: the text of tokens."""
        body = await read_body(request, self.limits)
        asked = read_request(DetokenizeRequest, body)
        async with self._loaded(request, self._only(asked.model), GENERATION) as engine:
            with engine.detokenize(asked.tokens) as asking:
                text = (await unless_left(request, asking.result()))["text"]
        return JSONResponse({"content": text, "prompt": text})

    def _only(self, model: str | None) -> str:
        """Return the model of a request that need not name one."""
        return model if model is not None else next(iter(self.models.engines))

    async def health(self, _: Request) -> Response:
        """Say whether the server lives."""
        return self._state(well=not self.draining)

    async def ready(self, _: Request) -> Response:
        """Say whether the models are loaded."""
        return self._state(well=not self.draining and self.models.all_ready)

    def _state(self, *, well: bool) -> Response:
        states = {name: engine.state for name, engine in self.models.engines.items()}
        status = "draining" if self.draining else "ok" if well else "loading"
        return JSONResponse({"status": status, "models": states}, 200 if well else 503)

    async def metrics_text(self, _: Request) -> Response:
        """Answer `/metrics`."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def page(self, _: Request) -> Response:
        """Answer `/`."""
        return FileResponse(PAGE, headers={"Content-Security-Policy": POLICY})

    def counted(
        self, endpoint: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that tells our errors as OpenAI's, and counts what it answers."""

        async def answered(request: Request) -> Response:
            response = await self._told(request, answer)
            self.metrics.requests.labels(endpoint, response.status_code).inc()
            return response

        return answered

    async def _told(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            return await answer(request)
        except (ClientLeft, ClientDisconnect):  # while it waits, or while it sends
            return Response(status_code=LEFT)
        except TimeoutError:
            body = error_body("the answer took too long", "timeout", code="timeout")
            return JSONResponse(body, 504)
        except BodyRefused as error:
            closing = {"Connection": "close"}  # the rest of the body is not read
            return JSONResponse(told(error)[1], error.status, closing)
        except OvrecipeError as error:
            status, body = told(error)
            busy = isinstance(error, EngineBusy | EngineFailed)
            if isinstance(error, EngineBusy):
                self.metrics.rejected.labels("busy").inc()
            return JSONResponse(body, status, {"Retry-After": str(RETRY_SECONDS)} if busy else {})


def make_app(
    models: Models,
    *,
    metrics: Metrics | None = None,
    limits: Limits | None = None,
    origins: tuple[str, ...] = (),
) -> Starlette:
    """Return the ASGI application; its lifespan loads the models, and ends them."""
    limits = limits or Limits()
    server = Server(models, metrics or Metrics(), limits)
    routes = [
        Route(path, server.counted(path, answer), methods=[method])
        for method, path, answer in (
            ("GET", "/", server.page),
            ("GET", "/health", server.health),
            ("GET", "/ready", server.ready),
            ("GET", "/metrics", server.metrics_text),
            ("POST", "/tokenize", server.tokenize),
            ("POST", "/detokenize", server.detokenize),
            ("POST", "/rerank", server.rerank),
            # OVMS serves /v3.
            *(
                (method, f"{version}{path}", answer)
                for version in ("/v1", "/v3")
                for method, path, answer in (
                    ("POST", "/chat/completions", server.chat),
                    ("POST", "/completions", server.completions),
                    ("POST", "/embeddings", server.embeddings),
                    ("POST", "/rerank", server.rerank),
                    ("GET", "/models", server.list_models),
                    ("GET", "/models/{name:path}", server.one_model),
                )
            ),
        )
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await models.start()
        try:
            yield
        finally:
            await models.close()

    middleware = [Middleware(Guard, limits)]
    if origins:
        cors: dict[str, Any] = {"allow_methods": ["GET", "POST"], "allow_headers": ["*"]}
        middleware.insert(0, Middleware(CORSMiddleware, allow_origins=list(origins), **cors))
    app = Starlette(
        routes=routes,
        middleware=middleware,
        lifespan=lifespan,
        exception_handlers={HTTPException: _told_http, Exception: _told_defect},
    )
    app.state.server = server
    return app


async def _told_http(_: Request, error: Exception) -> Response:
    """Tell that there is no such path, or not with that method."""
    assert isinstance(error, HTTPException), "it is registered for these"
    body = error_body(error.detail, "invalid_request_error", code="unknown_url")
    return JSONResponse(body, error.status_code, error.headers)


async def _told_defect(_: Request, error: Exception) -> Response:
    """Tell of a defect of ours; the log has the traceback."""
    return JSONResponse(error_body(f"a defect: {type(error).__name__}", "server_error"), 500)
