"""onnxruntime without its telemetry.

Unless it is told otherwise before it is loaded, it keeps a device id under HOME and may report to its maker. Whoever
sets ORT_DISABLE_TELEMETRY decides.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # type: ignore[import-untyped]

__all__ = ["ort"]
