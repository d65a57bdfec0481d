"""The command `raynas schema`: the JSON Schema of a recipe."""

from __future__ import annotations

from typing import Any

import typer

app = typer.Typer()


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe. Editors complete and check YAML with it.

    For example: raynas schema > recipe.schema.json
    """
    from raynas.reporting.terminal import print_json

    print_json(recipe_schema())


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe, with the settings of every installed method."""
    from raynas.recipe.recipe import Recipe
    from raynas.study import method
    from search_spaces import names

    schema = Recipe.model_json_schema()
    kinds = {
        name: method.method_class(name).model_json_schema(ref_template=f"#/$defs/{name}/$defs/{{model}}")
        for name in method.method_names()
    }
    schema["$defs"] |= kinds
    settings_by_name = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"properties": {"name": True, **kind["properties"]}, "additionalProperties": False},
        }
        for name, kind in kinds.items()
    ]
    method_object = {"type": "object", "properties": {"name": {"enum": list(kinds)}}, "required": ["name"]}
    schema["properties"]["method"] = {
        "anyOf": [{"type": "string", "examples": list(kinds)}, {**method_object, "allOf": settings_by_name}]
    }
    space_name = {"anyOf": [{"enum": names()}, {"type": "string", "pattern": r"\.(ya?ml|py)$"}]}
    space_object = {"type": "object", "properties": {"name": space_name}, "required": ["name"]}
    schema["properties"]["space"] = {"anyOf": [space_name, space_object]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "raynas recipe", **schema}
