"""Put the repository's own pages on the site, and point links across `docs/` at them.

MkDocs sees the files below `docs/` only. Links in the sources are relative paths in the repository, so that they also
work in a checkout. A link to a file that is not on the site becomes plain text there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
RESULTS = "benchmarks/results"
MOUNTED = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
"""Pages of the repository that are pages of the site, under the same paths."""
MOUNTED_FOLDERS = ("benchmarks/figures", RESULTS)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """List the results of the benchmarks in the navigation."""
    benchmarks = next(entry["Benchmarks"] for entry in config["nav"] if "Benchmarks" in entry)
    benchmarks += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / RESULTS).glob("*.md"))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the mounted pages and figures."""
    found = [path for folder in MOUNTED_FOLDERS for path in sorted((ROOT / folder).glob("*.*"))]
    for path in [*(ROOT / name for name in MOUNTED), *found]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite the links of a page from paths in the repository to paths on the site."""
    own = page.file.src_uri
    is_mounted = own in MOUNTED or own.startswith(MOUNTED_FOLDERS)
    folder = posixpath.dirname(own if is_mounted else f"docs/{own}")

    def rewrite(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, target)).removeprefix("docs/")
        if files.get_file_from_path(path) is None:
            return text if (ROOT / path).exists() else link[0]
        return f"[{text}]({posixpath.relpath(path, posixpath.dirname(own) or '.')}{anchor})"

    return _LINK.sub(rewrite, markdown)
