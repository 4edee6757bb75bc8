"""Redfish error answers: HTTP status, a message of the Base registry, and the body of DSP0266 section 8.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REGISTRY = "Base.1.15.0"


class RedfishError(Exception):
    """A refusal on its way to the client.

    Args:
        status: the HTTP status.
        message: the message key in the Base registry.
        text: the sentence for people.
        arguments: what the registry's sentence is filled with.
        related: the property it is about, as a JSON pointer with `#`.
        headers: HTTP headers to send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        text: str,
        *,
        arguments: Sequence[object] = (),
        related: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.message = message
        self.text = text
        self.arguments = [str(argument) for argument in arguments]
        self.related = related
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        info: dict[str, Any] = {
            "@odata.type": "#Message.v1_1_2.Message",
            "MessageId": f"{_REGISTRY}.{self.message}",
            "Message": self.text,
            "MessageArgs": self.arguments,
            "MessageSeverity": "Warning" if self.status < 500 else "Critical",
            "Resolution": "See the message.",
        }
        if self.related:
            info["RelatedProperties"] = [self.related]
        return {
            "error": {
                "code": f"{_REGISTRY}.GeneralError",
                "message": self.text,
                "@Message.ExtendedInfo": [info],
            }
        }


def not_found(path: str) -> RedfishError:
    """404: nothing lies at that path."""
    return RedfishError(
        404, "ResourceMissingAtURI", f"The resource at the URI '{path}' was not found.", arguments=[path]
    )


def method_not_allowed(method: str, allowed: Sequence[str]) -> RedfishError:
    """405, with the methods that are."""
    text = f"The method {method} is not allowed on this resource."
    return RedfishError(405, "OperationNotAllowed", text, headers={"Allow": ", ".join(allowed)})


def unauthorized() -> RedfishError:
    """401: no session, or credentials that do not fit."""
    text = "While accessing the resource, the service found no valid session or credentials."
    return RedfishError(401, "NoValidSession", text, headers={"WWW-Authenticate": 'Basic realm="Redfish"'})


def malformed() -> RedfishError:
    """400: the body is not a JSON object."""
    return RedfishError(
        400, "MalformedJSON", "The request body submitted was malformed JSON or not an object."
    )


def not_in_list(
    name: str, value: object, allowed: Sequence[str], *, action: str | None = None
) -> RedfishError:
    """400: a value outside its AllowableValues."""
    text = f"The value '{value}' for {name} is not in the list of acceptable values: {', '.join(allowed)}."
    if action:
        return RedfishError(400, "ActionParameterValueNotInList", text, arguments=[value, name, action])
    return RedfishError(400, "PropertyValueNotInList", text, arguments=[value, name], related=f"#/{name}")


def unknown_property(name: str) -> RedfishError:
    """400: the resource has no such property."""
    text = f"The property {name} is not in the list of valid properties for the resource."
    return RedfishError(400, "PropertyUnknown", text, arguments=[name], related=f"#/{name}")


def read_only(name: str) -> RedfishError:
    """400: the property cannot be written."""
    text = f"The property {name} is a read only property and cannot be assigned a value."
    return RedfishError(400, "PropertyNotWritable", text, arguments=[name], related=f"#/{name}")


def wrong_type(name: str, value: object) -> RedfishError:
    """400: a value of the wrong JSON type."""
    text = f"The value '{value}' for the property {name} is not a type that the property can accept."
    return RedfishError(400, "PropertyValueTypeError", text, arguments=[value, name], related=f"#/{name}")


def missing_parameter(action: str, name: str) -> RedfishError:
    """400: an action lacks a parameter."""
    text = f"The action {action} requires the parameter {name} to be present in the request body."
    return RedfishError(400, "ActionParameterMissing", text, arguments=[action, name])


def unknown_parameter(action: str, name: str) -> RedfishError:
    """400: an action has no such parameter."""
    text = f"The action {action} was submitted with the invalid parameter {name}."
    return RedfishError(400, "ActionParameterUnknown", text, arguments=[action, name])


def out_of_range(name: str, value: object, allowed: str) -> RedfishError:
    """400: a value beyond its limits."""
    text = f"The value '{value}' for the property {name} is not within the supported range: {allowed}."
    return RedfishError(400, "PropertyValueOutOfRange", text, arguments=[value, name], related=f"#/{name}")


def parameter_not_supported(action: str, name: str, value: str, why: str) -> RedfishError:
    """400: an action's parameter is well formed, but this service cannot do what it asks for."""
    text = f"The value '{value}' for the parameter {name} of the action {action} is not supported: {why}."
    return RedfishError(400, "ActionParameterNotSupported", text, arguments=[name, action])


def conflict(action: str, name: str, value: str, why: str) -> RedfishError:
    """409: a parameter that does not go with the state of the server."""
    text = f"The action {action} with {name} {value} cannot be carried out: {why}."
    return RedfishError(409, "ActionParameterValueConflict", text, arguments=[name, value])
