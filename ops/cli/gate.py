"""`mend gate`: is a policy right, what would it say, and why did the gate decide as it did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.console import Json, print_json, print_pairs, print_rows
from ops.cli.session import Session, run_now, session_of

if TYPE_CHECKING:
    from sql.decisions import DecisionRow

_COLUMNS = ("alert", "target", "action", "severity", "risk", "said", "signatures", "rule", "reason")
Policy = Annotated[Path, typer.Argument(help="The policy, such as policy.yaml.", show_default=False)]

commands = typer.Typer(help="What the gate decides by, and why it decided.", no_args_is_help=True, rich_markup_mode=None)


def add_to(application: typer.Typer) -> None:
    application.add_typer(commands, name="gate")


@commands.command()
def check(policy: Policy, as_json: Json = False) -> None:
    """Says whether a policy is right; every fault with file and line. Exit code 1 when it has one."""
    from ops.policy import read_file

    found = read_file(policy)
    if as_json:
        print_json({"file": found.file, "version": found.version, "rules": [rule.name for rule in found.rules]})
    else:
        print(f"{found.file} is right: {len(found.rules)} rules, version {found.version}")


@commands.command()
def show(context: typer.Context) -> None:
    """Prints the policy that is in force here, as its file is: a beginning for one of your own."""
    from importlib.resources import files

    from ops.policy import policy_of

    settings = session_of(context).settings
    policy_of(settings)
    file = Path(settings.gate.policy).expanduser() if settings.gate.policy else files("stages.gate") / "default_policy.yaml"
    print(file.read_text("utf-8"), end="")


@commands.command("test")
def try_(
    context: typer.Context,
    policy: Policy,
    payload: Annotated[typer.FileText, typer.Argument(help="A webhook payload of Alertmanager; - for stdin.", show_default=False)],
    action: Annotated[list[str] | None, typer.Option("--action", help="Only this action, such as restart; may be given again.")] = None,
    tier: Annotated[str, typer.Option(help="How far it reaches: auto, human, dual, blocked or unmeasured.")] = "auto",
    trust: Annotated[int, typer.Option(min=0, help="How far it is trusted.")] = 0,
    mode: Annotated[str, typer.Option(help="shadow, assist or auto, in place of the settings.")] = "",
    as_json: Json = False,
) -> None:
    """Says what a policy would say about each action for the alerts of a payload. Nothing is looked at, and nothing is done.

    It takes for granted that the checks have passed, that the target is the incident's own, and that the valves have room.
    """
    from ops.cli.gate_trial import trials
    from ops.policy import read_file

    body, settings = payload.read().encode(), session_of(context).settings
    rows = trials(read_file(policy), body, settings, verbs=tuple(action or ()), tier=tier, trust=trust, mode=mode)
    print_rows(rows, _COLUMNS, as_json=as_json, empty="No alert of the payload fires.")


@commands.command()
def explain(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The id of the incident.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Explains each decision about an incident from its record: what it rested on, and every rule that spoke of it or did not."""
    from ops.errors import CommandFailed

    rows = run_now(_decisions(session_of(context), incident))
    if not rows:
        raise CommandFailed(
            f"the gate has decided nothing about the incident {incident}: `mend incidents show {incident}` says what happened"
        )
    if as_json:
        print_json(rows)
        return
    for place, row in enumerate(rows):
        if place:
            print()
        print_pairs(pages(row))


async def _decisions(session: Session, incident: str) -> list[DecisionRow]:
    from sql.decisions import list_decisions

    async with session.database() as database, database.connection() as connection:
        return await list_decisions(connection, incident=incident)


def pages(row: DecisionRow) -> Iterator[tuple[str, Any]]:
    """One decision, as names and values."""
    from schemas.action import describe

    situation, ruling = row.inputs.get("situation", {}), row.inputs.get("ruling", {})
    people = "1 person" if row.needed == 1 else f"{row.needed} people"
    said = "held" if row.held else "approved without a signature" if row.needed == 0 else f"{people} asked to sign"
    yield "at", row.at
    yield "action", describe(row.action)
    yield "decided", f"{said} ({row.rule})"
    yield "because", row.reasons[0]
    yield "besides", "\n".join(row.reasons[1:])
    yield "roles", ", ".join(ruling.get("roles", ()))
    yield "approval", row.approval
    yield "policy", f"{ruling.get('file', '')}, version {row.policy}" if row.policy else ""
    risk = row.risk_before.value + (f", {row.risk_after.value} by trust" if row.risk_after is not row.risk_before else "")
    blast = situation.get("blast") or {}
    yield "severity", situation.get("severity", "")
    yield "risk", risk
    yield "trust", str(row.trust)
    yield "blast radius", f"{blast['score']} of 100, tier {blast['tier']}" if blast else "not measured"
    yield "mode", row.mode.value
    yield "source", " ".join(word for word in (row.inputs.get("source", ""), situation.get("playbook", "")) if word)
    yield "checks", ", ".join(f"{check['name']} {check['result']}" for check in situation.get("checks", ())) or "none"
    yield "incident", f"{situation.get('incident') or 'unknown'}, {'its own' if situation.get('related') else 'another'} target"
    yield "traffic", situation.get("traffic") or ""
    yield "labels", situation.get("labels") or ""
    yield "labels of each alert", situation.get("alert_labels") or ""
    yield "rules that spoke", "\n".join(_applied(one) for one in ruling.get("applied", ()))
    yield "rules that did not", "\n".join(f"{one['rule']} (line {one['line']}): {one['why']}" for one in ruling.get("passed", ()))


def _applied(one: dict[str, Any]) -> str:
    wanted = [f"{one['signatures']} signatures"] if one.get("signatures") is not None else []
    wanted += [f"with {', '.join(one['roles'])}"] if one.get("roles") else []
    wanted += [f"mode {one['mode']}"] if one.get("mode") else []
    wanted += ["refused"] if one.get("refuse") else []
    wanted += ["a cooldown"] if one.get("cooldown") else []
    return f"{one['rule']} (line {one['line']}): {', '.join(wanted)}: {one['reason']}"
