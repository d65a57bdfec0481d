"""A user's own space: a YAML file of stages and their options, or a Python file with one function.

A space knows the text of its file, so that its specification rebuilds it where the file is not.

    name: my-space
    resolution: 32
    num_classes: 10
    stem: {channels: 16, stride: 1}
    activation: relu
    stages:
      - {name: early, channels: 16, repeats: 2, stride: 1, options: [k3e3, k5e3se, skip]}
      - {name: late, channels: 32, repeats: 3, stride: 2, first: [k3e3, k5e6], options: [k3e3, k5e6, skip]}
    head_channels: 256

    from search_spaces.chain.space import ChainFamily, Stage

    def space(**settings):
        return ChainFamily(name="my-space", ...)(**settings)
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from search_spaces.chain.blocks import parse
from search_spaces.chain.space import ChainFamily, Stage
from search_spaces.errors import UserError
from search_spaces.registry import check_known_settings, names
from search_spaces.space import SearchSpace
from search_spaces.validation import Classes, Number, absolute, read_yaml, validate

FUNCTION = "space"
_EXAMPLE = "`def space(**settings)`, which returns a SearchSpace such as ChainFamily(...)(**settings)"
_WHAT_A_SPACE_HAS = ("name", "choices", "surviving", "resolution", "num_classes")


@dataclass(frozen=True)
class SpaceFile:
    """A file that describes a space, as it was read.

    Attributes:
        suffix: how the text is to be read: `.yaml` or `.py`.
        text: what the file holds.
        shown: what messages call it.
    """

    suffix: str
    text: str
    shown: str = field(compare=False)

    @classmethod
    def read(cls, path: str | Path) -> SpaceFile:
        """The file at a path, which is relative to the working directory.

        Raises:
            UserError: if there is no such file, or it holds no text.
        """
        suffix = ".py" if Path(path).suffix == ".py" else ".yaml"
        try:
            return cls(suffix, absolute(path).read_bytes().decode("utf-8-sig"), str(path))
        except FileNotFoundError:
            raise UserError(f"There is no file {path} in {Path.cwd()}.") from None
        except OSError as error:
            raise UserError(f"The space {path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise UserError(f"The space {path} is no text in UTF-8.") from None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def space(self, **settings: Any) -> SearchSpace:
        """The space that the file describes, with these settings.

        Raises:
            UserError: if it describes none, does not know a setting, or calls it as an installed space is called.
        """
        space = self._of_python(settings) if self.suffix == ".py" else self._of_yaml(settings)
        if not re.fullmatch(r"\w[\w+-]*", space.name):
            raise UserError(
                f"{self.shown} calls its space {space.name!r}; a name is made of letters, digits, '_', '-' and '+'."
            )
        if space.name in names():
            raise UserError(
                f"{self.shown} calls its space {space.name!r}, as an installed one is; choose another name."
            )
        space.file = {"suffix": self.suffix, "text": self.text}
        return space

    def _of_yaml(self, settings: Mapping[str, Any]) -> SearchSpace:
        content = read_yaml(self.text, f"the space {self.shown}")
        if not isinstance(content, dict):
            raise UserError(f"The space {self.shown} is not a mapping of keys to values, such as 'resolution: 32'.")
        family = validate(_Table, content, f"the space {self.shown}").family()
        check_known_settings(settings, family, self.shown)
        return family(**settings)

    def _of_python(self, settings: Mapping[str, Any]) -> SearchSpace:
        function = getattr(self._module(), FUNCTION, None)
        if not callable(function):
            raise UserError(f"{self.shown} has no function {FUNCTION}: it needs {_EXAMPLE}.")
        check_known_settings(settings, function, self.shown)
        with self._blamed():
            made = function(**settings)
            if isinstance(made, SearchSpace) and all(hasattr(made, one) for one in _WHAT_A_SPACE_HAS):
                made = copy.copy(made)
                made.settings = json.loads(json.dumps(settings))
                return made
        raise UserError(f"{self._place(function)} returns {_called(made)}: it has to be {_EXAMPLE}.")

    @property
    def _module_name(self) -> str:
        return f"raynas_space_{self.sha256[:16]}"

    def _module(self) -> ModuleType:
        """The file as a module, made once a process for equal text, so that its classes are the same."""
        name = self._module_name
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = self.shown
            sys.modules[name] = module
            try:
                with self._blamed():
                    exec(compile(self.text, self.shown, "exec"), module.__dict__)
            except UserError:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def _place(self, function: Callable[..., Any]) -> str:
        code = getattr(function, "__code__", None)
        return f"{FUNCTION} in {self.shown}" + (f", line {code.co_firstlineno}," if code else "")

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Run the user's code: what it prints goes to stderr, what it raises becomes a sentence."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            line = error.lineno if isinstance(error, SyntaxError) else None
            own = sys.modules[self._module_name].__file__  # another path, where an equal file was loaded before
            for frame in traceback.extract_tb(error.__traceback__):
                line = frame.lineno if frame.filename == own else line
            said = " ".join(str(error).split()).rstrip(".")
            where = f"{self.shown}, line {line}" if line else self.shown
            raise UserError(f"{where}: {type(error).__name__}{f': {said}' if said else ''}.") from error


def _called(made: object) -> str:
    if isinstance(made, SearchSpace):
        missing = next(one for one in _WHAT_A_SPACE_HAS if not hasattr(made, one))
        return f"a {type(made).__name__} that has no {missing}"
    return "nothing" if made is None else f"a {type(made).__name__}"


def _block(text: str) -> str:
    parse(text)
    return text


def _some(options: tuple[str, ...]) -> tuple[str, ...]:
    if not options:
        raise ValueError("give at least one block, such as [k3e3, k5e6, skip]")
    return options


def _word(text: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", text):
        raise ValueError("a stage's name is made of letters, digits, '_' and '-'")
    return text


_Options = Annotated[tuple[Annotated[str, AfterValidator(_block)], ...], AfterValidator(_some)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Stem(_Part):
    channels: Number
    stride: Number = 1


class _Row(_Part):
    """A stage. `options` are those of every layer, or, where `first` is given, of every layer but the first."""

    name: Annotated[str, AfterValidator(_word)] | None = None
    channels: PositiveInt
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    stride: PositiveInt = 1
    options: _Options
    first: _Options | None = None
    activation: str | None = None

    def stage(self) -> Stage:
        own = self.model_dump(exclude={"options", "first"})
        return Stage(**own, first=self.first or self.options, rest=self.options)


class _Table(_Part):
    """What the YAML file holds: the fields of `ChainFamily` that describe a network, under the same names."""

    name: str
    resolution: Number
    num_classes: Classes
    stem: _Stem
    stages: Annotated[tuple[_Row, ...], Field(min_length=1)]
    head_channels: Number | None = None
    linear_features: Number | None = None
    activation: str = "relu6"
    keep_expand: bool = False
    squeeze: str = "input"

    def family(self) -> ChainFamily:
        own = self.model_dump(exclude={"stem", "stages"})
        stages = tuple(row.stage() for row in self.stages)
        return ChainFamily(**own, stages=stages, stem_channels=self.stem.channels, stem_stride=self.stem.stride)
