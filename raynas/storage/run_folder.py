"""The run folder: all files of a run are written and read here.

Every write is whole or absent: locally a file is written aside, synced and renamed; on an object store it is one PUT.
Every read is verified by a SHA-256: a field of a JSON file, in the header of a safetensors file, in the footer of a
Parquet file. A file that fails the check raises `DamagedFile`, and the caller falls back to an earlier state.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from raynas.storage.leftovers import aside_path, is_aside
from raynas.storage.tensor_file import safetensors_content
from search_spaces.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


_SEAL, _OPEN = b"raynas-sha256:", b"0" * 64
"""The mark before a Parquet file's SHA-256 in the footer, and the placeholder while the SHA-256 is computed."""


class DamagedFile(Exception):
    """A file is truncated, altered, or of another kind than its name says."""


class WriteFailed(OSError):
    """A file could not be written. The file that was there before is unchanged."""


class RunFolder:
    """A folder on any `pyarrow.fs` file system: a local path or a URI such as `s3://bucket/run`."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri) if "://" in str(uri) else str(Path(uri).expanduser().absolute())
        try:
            self._files, self._root = fs.FileSystem.from_uri(self.uri)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{self.uri} names no folder: {error}. Give a path, or a URI such as s3://bucket/run."
            ) from error
        self.is_local = isinstance(self._files, fs.LocalFileSystem)

    def __truediv__(self, name: str) -> RunFolder:
        path, mark, query = self.uri.partition("?") if "://" in self.uri else (self.uri, "", "")
        return RunFolder(f"{posixpath.join(path, name)}{mark}{query}")

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def exists(self, name: str = "") -> bool:
        return bool(self._files.get_file_info(self._path(name)).type != fs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of the files and folders in `folder`; none if there is no such folder."""
        selector = fs.FileSelector(self._path(folder), allow_not_found=True)
        return sorted(info.base_name for info in self._files.get_file_info(selector) if not is_aside(info.base_name))

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        if not self.is_local:
            with self._files.open_output_stream(path) as stream:
                stream.write(content)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        aside = aside_path(path)
        try:
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            Path(aside).unlink(missing_ok=True)
            raise WriteFailed(f"{path} could not be written: {error.strerror}.") from error
        os.replace(aside, path)
        _sync_folder(os.path.dirname(path))

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        with self._files.open_input_file(self._path(name)) as file:
            content: bytes = file.read()
        return content

    def is_whole(self, name: str) -> bool:
        """Return whether a JSON, Parquet or safetensors file exists and passes its check."""
        readers = {".json": self.read_json, ".parquet": self.read_table, ".safetensors": self.read_tensors}
        try:
            readers[posixpath.splitext(name)[1]](name)
        except (FileNotFoundError, NotADirectoryError, DamagedFile):
            return False
        return True

    def delete(self, name: str) -> None:
        info = self._files.get_file_info(self._path(name))
        if info.type == fs.FileType.Directory:
            self._files.delete_dir(info.path)
        elif info.type == fs.FileType.File:
            self._files.delete_file(info.path)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        content = {**value, "sha256": _json_digest(value)}
        self.write(name, json.dumps(content, ensure_ascii=False).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the object that `write_json` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            DamagedFile: if the file fails its check.
        """
        try:
            value: dict[str, Any] = json.loads(self.read(name))
            written = value.pop("sha256")
        except (ValueError, KeyError, AttributeError) as error:
            raise DamagedFile(f"{name} in {self.uri} cannot be read: {error}.") from error
        if written != _json_digest(value):
            raise DamagedFile(f"{name} in {self.uri} is not what was written: its checksum differs.")
        return value

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        sink = BytesIO()
        content = pa.Table.from_pandas(table, preserve_index=False)
        metadata = {**(content.schema.metadata or {}), b"seal": _SEAL + _OPEN}
        pq.write_table(content.replace_schema_metadata(metadata), sink)
        before, after = _around_seal(sink.getvalue())
        self.write(name, before + _file_digest(before, after) + after)

    def read_table(self, name: str) -> pd.DataFrame:
        """Return the table that `write_table` wrote; raises as `read_json`."""
        content = self.read(name)
        before, after = _around_seal(content)
        if content != before + _file_digest(before, after) + after:
            raise DamagedFile(f"{name} in {self.uri} is not what was written: its checksum differs.")
        # Without threads: one that still holds the buffer while Python ends would abort the process.
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        table: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
        return table

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write tensors as one safetensors file, with plain JSON in its header."""
        plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        text = json.dumps(header)
        self.write(name, safetensors_content(plain, {"header": text, "sha256": _tensor_digest(plain, text)}))

    def read_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the header that `write_tensors` wrote; raises as `read_json`."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        content = self.read(name)
        try:
            tensors = load(content)
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length])["__metadata__"]
            header: dict[str, Any] = json.loads(metadata["header"])
            written = metadata["sha256"]
        except (SafetensorError, ValueError, KeyError) as error:
            raise DamagedFile(f"{name} in {self.uri} cannot be read: {error}.") from error
        if written != _tensor_digest(tensors, metadata["header"]):
            raise DamagedFile(f"{name} in {self.uri} is not what was written: its checksum differs.")
        return tensors, header


def canonical(value: Any) -> str:
    """Return JSON in one fixed form: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return a short hash of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def _json_digest(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _around_seal(content: bytes) -> tuple[bytes, bytes]:
    """Return the bytes before and after a Parquet file's SHA-256."""
    start = content.rfind(_SEAL) + len(_SEAL)
    return content[:start], content[start + len(_OPEN) :]


def _file_digest(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + _OPEN + after).hexdigest().encode()


def _tensor_digest(tensors: Mapping[str, Tensor], header: str) -> str:
    total = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(_byte_type()).numpy().data)
    return total.hexdigest()


def _byte_type() -> Any:
    import torch

    return torch.uint8


def _sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
