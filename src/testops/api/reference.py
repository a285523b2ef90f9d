"""Renders an OpenAPI document as a page that needs no script and nothing from outside."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from testops.api.page_parts import table
from testops.api.problems import KINDS

Doc = Mapping[str, Any]


def reference_html(document: Doc) -> str:
    """Every operation by its tag, then the shapes, then the problems."""
    return (
        f"<p>{escape(str(document['info']['description']))} The document itself: "
        '<a href="/openapi.json">openapi.json</a>.</p>'
        + "".join(_operations(document))
        + "<h2 id='schemas'>Shapes</h2>"
        + "".join(_schemas(document))
        + "<h2 id='problems'>Problems</h2>"
        + table(
            "Problems",
            ["Type", "Status", "Title"],
            [
                [f"<code>{escape(kind.uri)}</code>", str(kind.status), escape(kind.title)]
                for kind in KINDS
            ],
        )
    )


def _operations(document: Doc) -> Iterator[str]:
    tag = None
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield _operation(method, path, operation)


def _operation(method: str, path: str, operation: Doc) -> str:
    parts = [
        f"<section id='{escape(operation['operationId'])}'>"
        f"<h3><code>{method.upper()} {escape(path)}</code></h3>"
        f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
    ]
    if "x-permission" in operation:
        parts.append(
            f"<p>Takes the permission <code>{escape(operation['x-permission'])}</code>.</p>"
        )
    parameters = [
        [
            f"<code>{escape(one['name'])}</code>",
            escape(one["in"]),
            _shape(one["schema"]),
            escape(one.get("description", "")),
        ]
        for one in operation.get("parameters", [])
    ]
    if parameters:
        parts.append(table("Parameters", ["Name", "In", "Shape", ""], parameters))
    body = operation.get("requestBody", {}).get("content", {})
    parts += [f"<p>Body: {_shape(one.get('schema', {}))}</p>" for one in body.values()]
    answers = [
        [
            escape(status),
            escape(one["description"]),
            ", ".join(_shape(media.get("schema", {})) for media in one.get("content", {}).values()),
        ]
        for status, one in operation["responses"].items()
    ]
    parts.append(table("Answers", ["Status", "When", "Shape"], answers))
    return "".join(parts) + "</section>"


def _schemas(document: Doc) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        spelled = json.dumps(schema, indent=1, ensure_ascii=False)
        yield (
            f"<details id='schema-{escape(name)}'><summary><code>{escape(name)}</code></summary>"
            f"<pre>{escape(spelled)}</pre></details>"
        )


def _shape(schema: Doc) -> str:
    """A schema in a word, with a link where it has a name."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rpartition("/")[2])
        return f"<a href='#schema-{name}'>{name}</a>"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_shape(one) for one in schema[several])
    kind = escape(str(schema.get("type", "any")))
    return f"{kind} of {_shape(schema['items'])}" if "items" in schema else kind
