"""The service root, sessions and accounts."""

from __future__ import annotations

from lab.virtual.redfish import messages
from lab.virtual.redfish.face import (
    ACCOUNTS,
    OK,
    ROOT,
    SESSIONS,
    Json,
    RedfishFace,
    Reply,
    Resource,
    collection,
    heading,
    link,
    writable,
)
from lab.virtual.redfish.sessions import TIMEOUT_RANGE_S, Session

METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">
  <edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/ServiceRoot_v1.xml">
    <edmx:Include Namespace="ServiceRoot"/><edmx:Include Namespace="ServiceRoot.v1_15_0"/>
  </edmx:Reference>
  <edmx:DataServices>
    <Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service">
      <EntityContainer Name="Service" Extends="ServiceRoot.v1_15_0.ServiceContainer"/>
    </Schema>
  </edmx:DataServices>
</edmx:Edmx>
"""
_SERVICES = {
    "Systems": "Systems",
    "Chassis": "Chassis",
    "Managers": "Managers",
    "SessionService": "SessionService",
    "AccountService": "AccountService",
    "Tasks": "TaskService",
    "UpdateService": "UpdateService",
    "Registries": "Registries",
}
"""Links of the root, and where they lead."""


def resources() -> dict[str, Resource]:
    """The root and every fixed path of sessions and accounts."""
    return {
        "/redfish": Resource(lambda _: {"v1": f"{ROOT}/"}),
        ROOT: Resource(read_root),
        f"{ROOT}/odata": Resource(read_odata),
        f"{ROOT}/SessionService": Resource(read_session_service, patch_session_service),
        SESSIONS: Resource(read_sessions, post=open_session),
        f"{ROOT}/AccountService": Resource(read_account_service),
        ACCOUNTS: Resource(read_accounts),
    }


def find(face: RedfishFace, path: str) -> Resource | None:
    """A session or an account by its path."""
    folder, _, key = path.rpartition("/")
    if folder == SESSIONS and (session := face.sessions.get(key)) is not None:
        return _session_resource(session)
    if folder == ACCOUNTS and key.isdigit() and 0 < int(key) <= len(face.sessions.accounts):
        return _account_resource(face, int(key))
    return None


def read_root(face: RedfishFace) -> Json:
    """/redfish/v1."""
    return heading(ROOT, "ServiceRoot.v1_15_0.ServiceRoot", "Root Service") | {
        "@odata.id": f"{ROOT}/",
        "Id": "RootService",
        "RedfishVersion": "1.17.0",
        "UUID": face.uuid,
        "Vendor": "hypervisor-lab",
        "Product": "Virtual BMC",
        "ProtocolFeaturesSupported": {
            "ExcerptQuery": False,
            "FilterQuery": False,
            "OnlyMemberQuery": False,
            "SelectQuery": False,
            "TopSkipQuery": True,
        },
        **{name: link(f"{ROOT}/{place}") for name, place in _SERVICES.items()},
        "Links": {"Sessions": link(SESSIONS)},
    }


def read_odata(_: RedfishFace) -> Json:
    """The OData service document (DSP0266 section 8.4.3)."""
    services = [
        {"name": name, "kind": "Singleton", "url": f"{ROOT}/{place}"} for name, place in _SERVICES.items()
    ]
    return {"@odata.context": f"{ROOT}/$metadata", "value": services}


def read_session_service(face: RedfishFace) -> Json:
    """SessionService."""
    return heading(f"{ROOT}/SessionService", "SessionService.v1_1_9.SessionService", "Session Service") | {
        "ServiceEnabled": True,
        "SessionTimeout": face.sessions.timeout_s,
        "Status": OK,
        "Sessions": link(SESSIONS),
    }


async def patch_session_service(face: RedfishFace, body: Json) -> None:
    """SessionTimeout, in seconds."""
    wanted = writable(body, read_session_service(face), ("SessionTimeout",))
    value = wanted.get("SessionTimeout", face.sessions.timeout_s)
    if not isinstance(value, int) or isinstance(value, bool):
        raise messages.wrong_type("SessionTimeout", value)
    low, high = TIMEOUT_RANGE_S
    if not low <= value <= high:
        text = f"The value {value} for SessionTimeout is not between {low} and {high} seconds."
        raise messages.RedfishError(400, "PropertyValueOutOfRange", text, arguments=[value, "SessionTimeout"])
    face.sessions.timeout_s = value


def read_sessions(face: RedfishFace) -> Json:
    """The open sessions."""
    return collection(
        SESSIONS,
        "SessionCollection",
        "Sessions",
        [f"{SESSIONS}/{session.id}" for session in face.sessions.all()],
    )


async def open_session(face: RedfishFace, body: Json) -> Reply:
    """Log in: 201 with the token and where to DELETE it."""
    for name in ("UserName", "Password"):
        if name not in body:
            text = f"The create operation failed because the required property {name} was missing."
            raise messages.RedfishError(400, "CreateFailedMissingReqProperties", text, arguments=[name])
    session = face.sessions.open(body["UserName"], body["Password"])
    headers = {"Location": f"{SESSIONS}/{session.id}", "X-Auth-Token": session.token}
    return Reply(201, _read_session(session), headers)


def read_account_service(_: RedfishFace) -> Json:
    """AccountService; accounts come from the rack file and are only shown."""
    return heading(f"{ROOT}/AccountService", "AccountService.v1_13_0.AccountService", "Account Service") | {
        "ServiceEnabled": True,
        "Status": OK,
        "Accounts": link(ACCOUNTS),
    }


def read_accounts(face: RedfishFace) -> Json:
    """The accounts."""
    paths = [f"{ACCOUNTS}/{number}" for number in range(1, len(face.sessions.accounts) + 1)]
    return collection(ACCOUNTS, "ManagerAccountCollection", "Accounts", paths)


def _session_resource(session: Session) -> Resource:
    async def close(face: RedfishFace) -> Reply:
        face.sessions.close(session.id)
        return Reply()

    return Resource(lambda _: _read_session(session), delete=close)


def _read_session(session: Session) -> Json:
    return heading(f"{SESSIONS}/{session.id}", "Session.v1_6_0.Session", "User Session") | {
        "UserName": session.user,
        "Password": None,
        "SessionType": "Redfish",
        "ClientOriginIPAddress": session.peer,
        "CreatedTime": session.created.isoformat(timespec="seconds"),
    }


def _account_resource(face: RedfishFace, number: int) -> Resource:
    account = face.sessions.accounts[number - 1]
    return Resource(
        lambda _: (
            heading(f"{ACCOUNTS}/{number}", "ManagerAccount.v1_11_0.ManagerAccount", account.name)
            | {
                "UserName": account.name,
                "Password": None,
                "RoleId": "Administrator",
                "Enabled": True,
                "Locked": False,
            }
        )
    )
