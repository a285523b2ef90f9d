"""The OpenAPI document as it is checked in: what FastAPI writes, and what it cannot know.

That is: the shape of suites and profiles, the shape of problems, how a caller is known, and the
streams of events, which the gateway serves.
"""

import json
from typing import Any

from pydantic import BaseModel

from testops.api.answers import problems
from testops.api.schemas import ProblemShown
from testops.domain.suite import Profile, Suite

API_VERSION = "1.0.0"
DESCRIPTION = (
    "Ask for runs, follow them, and read what they left. Equal questions are one run. Errors are "
    "RFC 9457 problems whose `type` never changes; fields may be added to any answer. A dashboard "
    "that says its version in the header `TestOps-UI` is answered 409 (`unqualified-versions`) by "
    "every route but `/v1/version-matrix` unless the matrix has both."
)
_REF = "#/components/schemas/{model}"


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what FastAPI cannot know."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (Suite, Profile, ProblemShown):
        _add(schemas, model)
    # FastAPI adds them for its own answer to what is not valid; ours are problems.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "testops_session",
            "description": "Of a browser that logged in.",
        },
    }
    document["paths"].update(_streams())
    return document


def _add(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(by_alias=True, ref_template=_REF)
    for name, inner in schema.pop("$defs", {}).items():
        schemas.setdefault(name, inner)
    schemas[model.__name__] = schema


def text_of_document(document: dict[str, Any]) -> str:
    """The document as the file holds it: the same bytes whatever the order of routes."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _streams() -> dict[str, Any]:
    """The paths that the SSE gateway serves, documented with the rest."""
    last = {
        "name": "last_event_id",
        "in": "query",
        "schema": {"type": "string", "maxLength": 4000},
        "description": "As the header Last-Event-ID: events behind that one.",
    }
    since = {
        "name": "from",
        "in": "query",
        "schema": {"type": "string", "enum": ["earliest"]},
        "description": "The whole log, from its beginning.",
    }
    run = {
        "name": "run_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    }
    runs = {
        "name": "run",
        "in": "query",
        "required": True,
        "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    }
    return {
        "/v1/test-runs/{run_id}/events": {
            "get": _stream("streamTestRun", "Follow a run", [run, last, since])
        },
        "/v1/events": {"get": _stream("streamTestRuns", "Follow several runs", [runs, last])},
    }


def _stream(operation_id: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tags": ["events"],
        "summary": summary,
        "description": "One event a change, by number; a lost connection goes on where it was.",
        "operationId": operation_id,
        "parameters": parameters,
        "security": [{"key": []}, {"session": []}],
        "x-permission": "runs.read",
        "responses": {
            "200": {
                "description": "The events",
                "content": {
                    "text/event-stream": {"schema": {"type": "string"}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            },
            "204": {"description": "The run has ended, and nothing follows"},
            **{str(status): doc for status, doc in problems().items()},
        },
    }
