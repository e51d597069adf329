"""`mend send-alert`: posts a webhook payload to the running API, as Alertmanager would."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.console import counted
from ops.cli.session import Session, session_of

if TYPE_CHECKING:
    from ops.settings.model import HttpSettings

_TIMEOUT = 10.0  # seconds
_NO_CREDENTIAL = (
    "the settings at hand have no http.token, nor http.username: run this where the mend.toml of the running Mendstream is,"
    " or with `mend --config FILE send-alert`"
)


def add_to(application: typer.Typer) -> None:
    application.command("send-alert")(send_alert)


def send_alert(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file with Alertmanager's webhook payload, or - for stdin.", show_default=False)],
    url: Annotated[str, typer.Option(help="The API; else the one that runs on this machine.")] = "",
) -> None:
    """Posts an Alertmanager webhook payload to the running API."""
    from ops.errors import CommandFailed

    session = session_of(context)
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    print(post(url or api_of(session), body, session.settings.http))


def api_of(session: Session) -> str:
    """The URL of the API: of the `mend up` that runs here, else of the settings."""
    from ops.runtime import running

    run = running(session.settings.data.path)
    if run is not None and run.api:
        return run.api
    http = session.settings.http
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(http.host, http.host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{http.port}" if ":" in host else f"http://{host}:{http.port}"


def post(api: str, body: bytes, http: HttpSettings) -> str:
    """Posts a payload, to the API alone: through no proxy of the environment, and after no redirect.

    Returns what the API said. Raises CommandFailed with the API's own reason.
    """
    import base64
    import json
    import urllib.error
    import urllib.request
    from http import HTTPStatus

    from ops.errors import CommandFailed

    if not api.startswith(("http://", "https://")):
        raise CommandFailed(f"{api!r} is no http URL")
    request = urllib.request.Request(f"{api.rstrip('/')}/v1/alertmanager", body, {"Content-Type": "application/json"})  # noqa: S310
    if http.token:
        request.add_header("Authorization", f"Bearer {http.token.reveal()}")
    elif http.username:
        pair = f"{http.username}:{http.password.reveal()}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            told = json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            reason = _reason(error.code, error.read())
            alone = error.code == HTTPStatus.UNAUTHORIZED and not (http.token or http.username)
            raise CommandFailed(f"{reason}; {_NO_CREDENTIAL}" if alone else reason) from None
    except (OSError, ValueError) as error:
        raise CommandFailed(f"the API at {api} does not answer: {getattr(error, 'reason', error)}; is `mend up` running?") from None
    accepted = told.get("accepted") if isinstance(told, dict) else None
    return f"{counted(accepted, 'signal')} accepted" if isinstance(accepted, int) else "accepted"


def _reason(code: int, body: bytes) -> str:
    import json

    if 300 <= code < 400:
        return f"the API answered {code}: it sends us elsewhere, and the credential goes nowhere else: say with --url where it really is"
    try:
        problem = json.loads(body)
        detail = problem.get("detail") or problem.get("title") or ""
    except (ValueError, AttributeError):
        detail = body[:200].decode(errors="replace")
    return f"the API answered {code}: {detail}"
