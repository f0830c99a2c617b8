"""What OpenVINO Model Server reads beside a model: a graph, a configuration, a compose file.

Source: openvinotoolkit/model_server v2026.3: src/llm/llm_calculator.proto (options of the graph),
src/schema.cpp and src/mediapipe_internal/mediapipegraphconfig.cpp (configuration),
src/llm/language_model/legacy/servable_initializer.cpp (`LM` is LLMPipeline with SDPA).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe.run.exported import Export

GRAPH = "graph.pbtxt"
#: Not `config.json`, as OVMS' pages call it: that is the model's own here.
CONFIG = "ovms_config.json"
COMPOSE = "compose.yaml"
#: OVMS is released with OpenVINO and under its number; a tokenizer's graph has operations that an
#: older one may not know.
IMAGE = "openvino/model_server"
FALLBACK = "2026.4"
PORT = 8000

GRAPH_TEXT = """\
# Read by OpenVINO Model Server. Written by ovrecipe, which did not run a server on it.
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"

node: {{
  name: "LLMExecutor"
  calculator: "HttpLLMCalculator"
  input_stream: "LOOPBACK:loopback"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "LLM_NODE_RESOURCES:llm"
  output_stream: "LOOPBACK:loopback"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  input_stream_info: {{
    tag_index: "LOOPBACK:0"
    back_edge: true
  }}
  node_options: {{
    [type.googleapis.com / mediapipe.LLMCalculatorOptions]: {{
      models_path: "./"
      device: "CPU"
      # {reason}
      pipeline_type: {pipeline}
    }}
  }}
  input_stream_handler {{
    input_stream_handler: "SyncSetInputStreamHandler"
    options {{
      [mediapipe.SyncSetInputStreamHandlerOptions.ext] {{
        sync_set {{
          tag_index: "LOOPBACK:0"
        }}
      }}
    }}
  }}
}}
"""
#: `ovms_objection` refuses what is run without GenAI, which servers have.
PIPELINES = {"SDPA": "LM", "PA": "LM_CB"}
REASONS = {
    "LM": "SDPA, one request at a time: paged attention does not answer as the source does here.",
    "AUTO": "Nobody has compared paged attention with the source of this model.",
    "LM_CB": "Continuous batching over paged attention, which answers as the source does here.",
}
COMPOSE_TEXT = """\
# docker compose up; then POST http://127.0.0.1:{port}/v3/chat/completions, model "{model}".
# Written by ovrecipe, which neither pulled the image nor ran it.
services:
  ovms:
    image: {image}:{tag}
    command: --config_path /model/{config} --rest_port {port}
    ports:
      - "127.0.0.1:{port}:{port}"
    volumes:
      - .:/model:ro
"""


def served_as(export: Export) -> str:
    """Return the name of the model in requests; a colon would be awkward in OVMS' paths."""
    return export.target.replace(":", "-")


def image_tag(export: Export) -> str:
    """Return the release of OVMS for the OpenVINO that built the model."""
    version = export.versions.get("openvino") or FALLBACK
    return ".".join(version.split(".")[:2])


def ovms_files(export: Export) -> dict[str, str]:
    """Return the texts of the files that OVMS and `docker compose` read."""
    pipeline = PIPELINES.get(export.attention_backend or "", "AUTO")
    config = {"name": served_as(export), "base_path": "/model", "graph_path": GRAPH}
    document = {"model_config_list": [{"config": config}]}
    return {
        GRAPH: GRAPH_TEXT.format(pipeline=pipeline, reason=REASONS[pipeline]),
        CONFIG: json.dumps(document, indent=2) + "\n",
        COMPOSE: COMPOSE_TEXT.format(
            image=IMAGE,
            tag=image_tag(export),
            config=CONFIG,
            port=PORT,
            model=served_as(export),
        ),
    }
