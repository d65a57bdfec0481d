"""The JSON Schema by which an editor knows what a recipe may hold."""

from __future__ import annotations

from typing import Any

from raynas.recipe.recipe import Recipe
from raynas.study import method
from search_spaces import names


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe's file, with the settings of every method that is installed."""
    schema = Recipe.model_json_schema()
    kinds = {
        name: method.kind(name).model_json_schema(ref_template=f"#/$defs/{name}/$defs/{{model}}")
        for name in method.names()
    }
    schema["$defs"] |= kinds
    named = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"properties": {"name": True, **kind["properties"]}, "additionalProperties": False},
        }
        for name, kind in kinds.items()
    ]
    schema["properties"]["method"] = {
        "anyOf": [
            {"type": "string", "examples": list(kinds)},
            {"type": "object", "properties": {"name": {"enum": list(kinds)}}, "required": ["name"], "allOf": named},
        ]
    }
    known = {"anyOf": [{"enum": names()}, {"type": "string", "pattern": r"\.(ya?ml|py)$"}]}
    schema["properties"]["space"] = {
        "anyOf": [known, {"type": "object", "properties": {"name": known}, "required": ["name"]}]
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "raynas recipe", **schema}
