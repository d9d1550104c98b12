"""What a setting that names a model may mean: a folder, or a model of the hub. Nothing is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reverie.core.errors import SettingsError

_FOLDER_STARTS: Final = ("/", "./", "../", "~")
_HUB_PARTS: Final = 2


def folder_of(model: str) -> Path | None:
    """The folder that a name is the path of, if it is one."""
    return Path(model).expanduser() if model.startswith(_FOLDER_STARTS) else None


def is_of_hub(model: str) -> bool:
    """Whether a name is one of the Hugging Face hub: organisation/name."""
    return len([part for part in model.split("/") if part]) == _HUB_PARTS and model.count("/") == 1


def look_into(folder: Path, setting: str, files: Sequence[str], what: str) -> tuple[Path, bool]:
    """The folder itself, and whether it holds an ONNX model; if not, it holds another.

    Args:
        folder: that the setting names.
        setting: its name, for the person who reads the error.
        files: of which another model has one.
        what: that other model is, in words.

    Raises:
        SettingsError: there is no such folder, or it holds neither.
    """
    if not folder.is_dir():
        raise SettingsError(f"{setting}: there is no folder {folder}.")
    folder = folder.resolve()
    if any((folder / file).is_file() for file in ("model.onnx", "onnx/model.onnx")):
        return folder, True
    if any((folder / file).is_file() for file in files):
        return folder, False
    raise SettingsError(
        f"{setting}: the folder {folder} holds neither model.onnx with tokenizer.json nor {what} "
        f"({' or '.join(files)})."
    )
