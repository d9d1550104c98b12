"""The files of a model in ONNX, as the hub lays them out: ``model.onnx``, ``tokenizer.json`` and configuration.

Each function takes the name of the setting that a user has to look at when the file is none.
"""

from pathlib import Path
from typing import Any, Final

import orjson
from tokenizers import Tokenizer

from reverie.core.errors import SettingsError
from reverie.embedding.protocol import default_threads
from reverie.embedding.silent_ort import ort

MODEL_FILES: Final = ("model.onnx", "onnx/model.onnx")
DEFAULT_TOKENS: Final = 512


def model_file(folder: Path, setting: str) -> str:
    """Which of MODEL_FILES the folder holds, with a ``tokenizer.json``.

    Raises:
        SettingsError: none.
    """
    found = next((file for file in MODEL_FILES if (folder / file).is_file()), None)
    if found is None or not (folder / "tokenizer.json").is_file():
        raise SettingsError(f"{setting}: {folder} takes the files model.onnx and tokenizer.json.")
    return found


def open_session(path: Path, threads: int, setting: str) -> ort.InferenceSession:
    """Loads a model for the processor; ``threads`` 0 takes :func:`~reverie.embedding.protocol.default_threads`.

    Raises:
        SettingsError: the file is no model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning pool keeps the cores from PostgreSQL while it waits for its next operation.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that have only Exception in common
        raise SettingsError(f"{setting}: {path} is not an ONNX model that can be loaded.") from error


def open_tokenizer(path: Path, max_tokens: int, setting: str) -> Tokenizer:
    """Loads a tokenizer that cuts at ``max_tokens``, the longer part of a pair first, and does not pad.

    Raises:
        SettingsError: the file is no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise SettingsError(f"{setting}: {path} is not a tokenizer that can be loaded.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_tokens, strategy="longest_first")
    return tokenizer


def window(folder: Path, setting: str) -> int:
    """The tokens that a model reads at once: what its configuration says, at most 512."""
    said = (
        json_object(folder / "sentence_bert_config.json", setting).get("max_seq_length"),
        json_object(folder / "tokenizer_config.json", setting).get("model_max_length"),
        DEFAULT_TOKENS,
    )
    return min(int(tokens) for tokens in said if tokens)


def json_object(path: Path, setting: str) -> dict[str, Any]:
    """The object in a file; empty if there is no file, or something else in it.

    Raises:
        SettingsError: it is not JSON.
    """
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError:
        raise SettingsError(f"{setting}: {path} is not JSON.") from None
    return content if isinstance(content, dict) else {}
