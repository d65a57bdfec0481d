"""A user's own space: a YAML file of stages and their options, or a Python file with one function.

A space keeps the text of its file, so that its specification rebuilds it on machines without the file.

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
_REQUIRED_ATTRIBUTES = ("name", "choices", "surviving", "resolution", "num_classes")


@dataclass(frozen=True)
class SpaceFile:
    """The content of a file that describes a space.

    Attributes:
        suffix: the format of the text: `.yaml` or `.py`.
        text: the file's content.
        shown: the file's name in messages.
    """

    suffix: str
    text: str
    shown: str = field(compare=False)

    @classmethod
    def read(cls, path: str | Path) -> SpaceFile:
        """Read the file at a path, which is relative to the working directory.

        Raises:
            UserError: if the file does not exist, or is no text.
        """
        suffix = ".py" if Path(path).suffix == ".py" else ".yaml"
        try:
            return cls(suffix, absolute(path).read_bytes().decode("utf-8-sig"), str(path))
        except FileNotFoundError:
            raise UserError(f"There is no file {path} in {Path.cwd()}.") from None
        except OSError as error:
            raise UserError(f"The space {path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise UserError(f"The space {path} is no text in UTF-8; save it as UTF-8.") from None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def space(self, **settings: Any) -> SearchSpace:
        """Return the space that the file describes, with these settings.

        Raises:
            UserError: if the file describes no space, does not know a setting, or uses the name of an installed space.
        """
        space = self._of_python(settings) if self.suffix == ".py" else self._of_yaml(settings)
        if not re.fullmatch(r"\w[\w+-]*", space.name):
            raise UserError(
                f"{self.shown} calls its space {space.name!r}; a name is made of letters, digits, '_', '-' and '+'."
            )
        if space.name in names():
            raise UserError(
                f"{self.shown} calls its space {space.name!r}, the name of an installed space; choose another name."
            )
        space.file = {"suffix": self.suffix, "text": self.text}
        return space

    def _of_yaml(self, settings: Mapping[str, Any]) -> SearchSpace:
        content = read_yaml(self.text, f"the space {self.shown}")
        if not isinstance(content, dict):
            raise UserError(f"The space {self.shown} is not a mapping of keys to values, such as 'resolution: 32'.")
        family = validate(_SpaceDocument, content, f"the space {self.shown}").family()
        check_known_settings(settings, family, self.shown)
        return family(**settings)

    def _of_python(self, settings: Mapping[str, Any]) -> SearchSpace:
        function = getattr(self._module(), FUNCTION, None)
        if not callable(function):
            raise UserError(f"{self.shown} has no function {FUNCTION}: it needs {_EXAMPLE}.")
        check_known_settings(settings, function, self.shown)
        with self._user_code():
            space = function(**settings)
            if isinstance(space, SearchSpace) and all(hasattr(space, name) for name in _REQUIRED_ATTRIBUTES):
                space = copy.copy(space)
                space.settings = json.loads(json.dumps(settings))
                return space
        raise UserError(f"{self._location(function)} returns {_description(space)}: it has to be {_EXAMPLE}.")

    @property
    def _module_name(self) -> str:
        return f"raynas_space_{self.sha256[:16]}"

    def _module(self) -> ModuleType:
        """Return the file as a module. Equal text gives the same module and classes throughout a process."""
        name = self._module_name
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = self.shown
            sys.modules[name] = module
            try:
                with self._user_code():
                    exec(compile(self.text, self.shown, "exec"), module.__dict__)
            except UserError:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def _location(self, function: Callable[..., Any]) -> str:
        code = getattr(function, "__code__", None)
        return f"{FUNCTION} in {self.shown}" + (f", line {code.co_firstlineno}," if code else "")

    @contextmanager
    def _user_code(self) -> Iterator[None]:
        """Run the user's code: redirect its output to stderr, and turn its errors into a sentence."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            line = error.lineno if isinstance(error, SyntaxError) else None
            # The module's path differs from this file's if an equal file was loaded before.
            path = sys.modules[self._module_name].__file__
            for frame in traceback.extract_tb(error.__traceback__):
                line = frame.lineno if frame.filename == path else line
            message = " ".join(str(error).split()).rstrip(".")
            location = f"{self.shown}, line {line}" if line else self.shown
            raise UserError(f"{location}: {type(error).__name__}{f': {message}' if message else ''}.") from error


def _description(result: object) -> str:
    if isinstance(result, SearchSpace):
        missing = next(name for name in _REQUIRED_ATTRIBUTES if not hasattr(result, name))
        return f"a {type(result).__name__} that has no {missing}"
    return "nothing" if result is None else f"a {type(result).__name__}"


def _check_block(text: str) -> str:
    parse(text)
    return text


def _check_options(options: tuple[str, ...]) -> tuple[str, ...]:
    if not options:
        raise ValueError("give at least one block, such as [k3e3, k5e6, skip]")
    return options


def _check_name(text: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", text):
        raise ValueError("a stage's name is made of letters, digits, '_' and '-'")
    return text


_Options = Annotated[tuple[Annotated[str, AfterValidator(_check_block)], ...], AfterValidator(_check_options)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _StemSection(_Section):
    channels: Number
    stride: Number = 1


class _StageSection(_Section):
    """A stage. `options` are the options of every layer or, with `first`, of every layer except the first."""

    name: Annotated[str, AfterValidator(_check_name)] | None = None
    channels: PositiveInt
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    stride: PositiveInt = 1
    options: _Options
    first: _Options | None = None
    activation: str | None = None

    def stage(self) -> Stage:
        fields = self.model_dump(exclude={"options", "first"})
        return Stage(**fields, first=self.first or self.options, rest=self.options)


class _SpaceDocument(_Section):
    """The content of the YAML file: the fields of `ChainFamily` that describe a network, under the same names."""

    name: str
    resolution: Number
    num_classes: Classes
    stem: _StemSection
    stages: Annotated[tuple[_StageSection, ...], Field(min_length=1)]
    head_channels: Number | None = None
    linear_features: Number | None = None
    activation: str = "relu6"
    keep_expand: bool = False
    squeeze: str = "input"

    def family(self) -> ChainFamily:
        fields = self.model_dump(exclude={"stem", "stages"})
        stages = tuple(section.stage() for section in self.stages)
        return ChainFamily(**fields, stages=stages, stem_channels=self.stem.channels, stem_stride=self.stem.stride)
