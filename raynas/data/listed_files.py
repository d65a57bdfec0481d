"""Tables of image files: a CSV or Parquet file with the columns file and label, or metadata.csv in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from raynas.data.labelled_files import PARTS, LabelledFiles, Part, list_folder
from search_spaces.errors import UserError, format_count, name_some

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".tsv", ".parquet")
METADATA = ("metadata.csv", "metadata.parquet")
"""The table of an image folder of Hugging Face."""
_FILE = ("file", "file_name", "filename", "path", "filepath", "image", "image_path")
_LABEL = ("label", "class", "class_name", "target", "category")
_PART = ("part", "split", "set", "subset")
_MOST_CLASSES = 10_000


def find_metadata(folder: Path) -> list[Path]:
    """Return the tables of a folder in the form of Hugging Face: in the folder itself, or one in each part."""
    folders, files = list_folder(folder)
    tables = [file for file in files if file.name in METADATA]
    parts = [each for each in folders if each.name.lower() in PARTS]
    return tables or [file for part in parts for file in list_folder(part)[1] if file.name in METADATA]


def read_listed(tables: list[Path], root: Path) -> LabelledFiles:
    """Return the files that tables list. A column part (or split) may name the part; paths are relative to the table.

    Raises:
        UserError: if a table lacks a column, names a file that does not exist, or an unknown part.
    """
    files: dict[Part, list[tuple[str, str]]] = {}
    for table in tables:
        for part, listed in _read_table(table, root).items():
            files.setdefault(part, []).extend(listed)
    if "test" not in files and "validation" in files:
        files["test"] = files.pop("validation")
    if "train" not in files:
        raise UserError(f"{tables[0]} lists no training image. Add rows whose part is train.")
    classes = tuple(sorted({label for _, label in files["train"]}, key=_natural))
    numbers = {label: number for number, label in enumerate(classes)}
    for listed in files.values():
        if unknown := sorted({label for _, label in listed} - numbers.keys()):
            raise UserError(
                f"{tables[0]} has a class {unknown[0]!r} without training images. Add rows with training images of it."
            )
    labelled = {part: [(file, numbers[label]) for file, label in listed] for part, listed in files.items()}
    return LabelledFiles(root, classes, labelled)


def _read_table(table: Path, root: Path) -> dict[Part, list[tuple[str, str]]]:
    content = _load(table)
    columns = {str(column).strip().lower(): column for column in content.columns}
    file, label = (_column(table, columns, names) for names in (_FILE, _LABEL))
    part = next((columns[name] for name in _PART if name in columns), None)
    of_folder = PARTS.get(table.parent.name.lower()) if table.parent != root else None
    if content[[file, label]].isna().any(axis=None):
        row = int(content[[file, label]].isna().any(axis=1).to_numpy().argmax())
        raise UserError(f"Row {row + 1} of {table} lacks its {file} or {label}. Fill it, or remove the row.")
    files: dict[Part, list[tuple[str, str]]] = {}
    missing = []
    for row, (name, of_file) in enumerate(zip(content[file], content[label], strict=True)):
        word = "train" if part is None else str(content[part].iloc[row]).strip().lower()
        if word not in PARTS:
            raise UserError(f"Row {row + 1} of {table} has the part {word!r}; it must be train, validation or test.")
        path = table.parent / str(name)
        if not path.is_file():
            missing.append(str(path))
        files.setdefault(of_folder or PARTS[word], []).append((str(path), str(of_file)))
    if missing:
        raise UserError(
            f"{table} lists {format_count(len(missing), 'file')} that cannot be found: {name_some(missing)}. "
            "Write each path as seen from the folder of the table."
        )
    return files


def _load(table: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if table.suffix == ".parquet":
            return pd.read_parquet(table)
        return pd.read_csv(table, sep="\t" if table.suffix == ".tsv" else ",", dtype=str, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{table} cannot be read as a table: {error}. Repair it.") from error


def _column(table: Path, columns: dict[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if name in columns:
            return columns[name]
    raise UserError(
        f"{table} has the columns {', '.join(columns)}; it needs a column {names[0]} (or {', '.join(names[1:4])})."
    )


def _natural(label: str) -> tuple[int, float, str]:
    """Order numbers by their value, and other labels by the alphabet."""
    return (0, float(label), label) if label.isdecimal() else (1, 0.0, label)
