"""What the server counts, for Prometheus.

Durations are named as OpenTelemetry's conventions for generative AI name them.
"""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Seconds, from the time of one token to that of a long answer.
BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
MODEL = ("model",)


class Metrics:
    """The counters of one server; nothing of what is asked or answered is in them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        seconds = partial(Histogram, registry=self.registry, buckets=BUCKETS)
        self.requests = counter("ovrecipe_requests", "Answered requests.", ("endpoint", "code"))
        self.rejected = counter("ovrecipe_rejected", "Requests without a place.", ("reason",))
        self.cancelled = counter("ovrecipe_cancelled", "Requests whose client left.", MODEL)
        self.restarts = counter("ovrecipe_engine_restarts", "Engines that died.", MODEL)
        self.prompt_tokens = counter("ovrecipe_prompt_tokens", "Tokens read.", MODEL)
        self.generated_tokens = counter("ovrecipe_generation_tokens", "Tokens generated.", MODEL)
        self.running = gauge("ovrecipe_requests_running", "Answers that grow.", MODEL)
        self.waiting = gauge("ovrecipe_requests_waiting", "Requests that wait for room.", MODEL)
        self.cache = gauge("ovrecipe_kv_cache_usage_ratio", "Promised part of the cache.", MODEL)
        self.first_token = seconds(
            "gen_ai_server_time_to_first_token_seconds", "From request to first token.", MODEL
        )
        self.per_token = seconds(
            "gen_ai_server_time_per_output_token_seconds", "Behind the first token.", MODEL
        )
        self.duration = seconds(
            "gen_ai_server_request_duration_seconds", "From request to last token.", MODEL
        )

    def loaded(self, model: str, running: int, waiting: int, cache_used: float) -> None:
        """Note what an engine has to do."""
        self.running.labels(model).set(running)
        self.waiting.labels(model).set(waiting)
        self.cache.labels(model).set(cache_used)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)
