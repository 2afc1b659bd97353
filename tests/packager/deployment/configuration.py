"""A Triton configuration by Triton's own message: run in an environment that has its client.

python configuration.py config.pbtxt
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

parsed = text_format.Parse(Path(sys.argv[1]).read_text(), model_config_pb2.ModelConfig())
sys.stdout.write(json_format.MessageToJson(parsed, preserving_proto_field_name=True))
