"""A portable object is restored from plain JSON by its registered name."""

from __future__ import annotations

import json
import sys

import pytest

from raynas.storage.portable import Portable, Reference


class Shape(Portable):
    """The base of two classes."""


class SmallSquare(Shape):
    side: float
    colours: tuple[str, ...] = ("red",)


class _PrivateCircle(Shape):
    radius: float = 1.0


class Animal(Portable):
    """A class of another kind."""


def through_json(reference: Reference) -> Reference:
    """Return a reference as another process reads it."""
    return Reference.model_validate(json.loads(json.dumps(reference.model_dump(mode="json"))))


def test_a_class_is_registered_by_its_name_in_kebab_case() -> None:
    assert SmallSquare(side=2).reference().name == SmallSquare.registered_name == "small-square"
    assert _PrivateCircle.registered_name == "private-circle"


@pytest.mark.parametrize("shape", [SmallSquare(side=0.1 + 0.2, colours=("red", "blue")), _PrivateCircle()])
def test_restore_returns_an_equal_object_of_the_same_class(shape: Shape) -> None:
    restored = Shape.restore(through_json(shape.reference()))
    assert type(restored) is type(shape)
    assert restored == shape


def test_the_identity_holds_no_module() -> None:
    square = SmallSquare(side=2)
    assert square.identity() == {"name": "small-square", "settings": {"side": 2.0, "colours": ["red"]}}
    moved = square.reference().model_copy(update={"module": "elsewhere"})
    assert moved.identity() == square.identity()
    assert Shape.restore(moved) == square, "a registered class is found although its module has moved"


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match=r"both define SmallSquare: a portable class needs a name of its own\."):
        type("SmallSquare", (Shape,), {"__module__": "another.module"})
    assert Shape.restore(SmallSquare(side=3).reference()) == SmallSquare(side=3)


def test_the_module_of_an_unknown_name_is_imported() -> None:
    module = "tests.support.portable_example"
    assert module not in sys.modules
    reference = Reference(name="imported-late", module=module, settings={"number": 3})
    restored = Portable.restore(reference)
    assert module in sys.modules
    assert restored.reference() == reference


def test_a_name_of_another_kind_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(TypeError, match=r"defines no Animal by the name 'small-square'\."):
        Animal.restore(SmallSquare(side=2).reference())
    with pytest.raises(TypeError, match=r"defines no Shape by the name 'triangle'\."):
        Shape.restore(Reference(name="triangle", module=__name__, settings={}))
