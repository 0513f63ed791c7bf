"""Pages about rollouts: plan one, watch it, operate it, and read why it did what it did."""

from __future__ import annotations

from starlette.responses import Response

from acclimate.errors import RolloutError
from acclimate.rollout import operations
from acclimate.rollout.api.operator.rollouts import seen
from acclimate.rollout.api.tokens import Role
from acclimate.rollout.console.pictures import arms_picture, effect_picture, wave_track
from acclimate.rollout.console.visit import REFRESH_S, Visit
from acclimate.rollout.domain.evidence import Decision
from acclimate.rollout.domain.gates import judge
from acclimate.rollout.domain.plan import DEFAULT_GATES, Plan, default_waves
from acclimate.rollout.domain.rollout import ENDED, Rollout
from acclimate.rollout.domain.tally import Tally
from acclimate.rollout.store import NotFoundError
from acclimate.rollout.wave_text import parse_waves, write_waves

_SHOWN = 6
_LABELS = {
    "start": "Start rollout",
    "promote": "Promote",
    "pause": "Pause",
    "resume": "Resume",
    "rollback": "Roll back",
    "abort": "Drop draft",
}
_DANGER = {"rollback", "abort"}


def rollouts(visit: Visit) -> Response:
    """All rollouts, newest first."""
    found = visit.desk.store.rollouts(visit.operator.fleet)[:100]
    return visit.render("rollouts.html", section="Rollouts", rollouts=found, refresh_s=REFRESH_S)


def rollout(visit: Visit) -> Response:
    """One rollout: waves, canary against control, gates, decisions."""
    current = seen(visit.desk, visit.operator, visit.path("rollout"))
    observations = visit.desk.store.observations(current.id)
    plan = current.plan
    lead = next((gate for gate in plan.gates if gate.metric == "loss"), plan.gates[0])
    pictures = [effect_picture(plan, lead, observations), arms_picture(plan, observations)]
    arms = [one.arm for one in observations]
    evidence = judge(plan, Tally(plan, observations))
    return visit.render(
        "rollout.html",
        section="Rollouts",
        rollout=current,
        track=wave_track(current),
        pictures=[picture for picture in pictures if picture],
        evidence=evidence,
        canaries=arms.count("canary"),
        controls=arms.count("control"),
        settled=sum(one.order is not None for one in observations),
        targeted=visit.desk.store.count_devices(plan.fleet),
        decisions=visit.desk.store.decisions(current.id, _SHOWN),
        operations=_operations(visit, current),
        refresh_s=0 if current.state in ENDED else REFRESH_S,
    )


def decisions(visit: Visit) -> Response:
    """Every decision of a rollout with its evidence."""
    current = seen(visit.desk, visit.operator, visit.path("rollout"))
    found: list[Decision] = visit.desk.store.decisions(current.id, 1000)
    return visit.render("decisions.html", section="Rollouts", rollout=current, decisions=found)


def confirm(visit: Visit) -> Response:
    """Ask before a rollout is operated, and say what will happen."""
    current = seen(visit.desk, visit.operator, visit.path("rollout"))
    operation = operations.OPERATIONS.get(visit.path("operation"))
    if operation is None:
        raise NotFoundError(f"a rollout has no {visit.path('operation')!r}")
    back = f"/rollouts/{current.id}"
    if operation not in operations.possible(current):
        state = current.state.replace("_", " ")
        return visit.go(back, f"The rollout is {state} by now: {operation.name} is not possible.", "warn")
    release = current.plan.release
    label = _LABELS[operation.name]
    return visit.render(
        "confirm.html",
        section="Rollouts",
        title=f"{label}: {release.name} version {release.version} on {current.plan.fleet}",
        consequence=operation.consequence,
        button=label,
        danger=operation.name in _DANGER,
        reason=True,
        back=back,
    )


def operate(visit: Visit) -> Response:
    """Do one operation."""
    visit.operator.require(Role.operator)
    current = seen(visit.desk, visit.operator, visit.path("rollout"))
    name, reason = visit.path("operation"), visit.form.get("reason", "").strip()[:500]
    try:
        changed = operations.operate(
            visit.desk.store, current.id, name, visit.operator.name, _printable(reason), visit.now
        )
    except RolloutError as error:
        return visit.go(f"/rollouts/{current.id}", str(error), "warn")
    state = changed.state.replace("_", " ")
    return visit.go(f"/rollouts/{current.id}", f"Done: the rollout is {state}.")


def new_rollout(visit: Visit) -> Response:
    """The form that plans a rollout."""
    return _form(visit, "")


def plan_rollout(visit: Visit) -> Response:
    """Keep the plan as a draft and show it."""
    visit.operator.require(Role.operator)
    name = visit.fleet()
    form = visit.form
    try:
        share = float(form.get("control_percent", "10")[:20]) / 100
        plan = Plan(
            fleet=name,
            release=visit.desk.choose(form.get("release", ""), visit.operator, name),
            waves=parse_waves(form.get("waves", ""), min_devices=int(form.get("min_devices", "20")[:10])),
            gates=DEFAULT_GATES,
            target=_printable(form.get("target", "").strip()),
            control_share=share,
        )
        despite = form.get("despite_harm") == "yes"
        draft = operations.draft(visit.desk.store, plan, visit.operator.name, visit.now, despite_harm=despite)
    except RolloutError as error:
        return _form(visit, str(error))
    except ValueError:
        return _form(visit, "Write plain numbers for the control share and the devices of each wave.")
    return visit.go(f"/rollouts/{draft.id}", "The plan is kept. Nothing happens until you start it.")


def _form(visit: Visit, problem: str) -> Response:
    fleet = visit.desk.store.fleet(visit.fleet())
    waves = default_waves(visit.desk.store.count_devices(fleet.name))
    usual = {
        "waves": write_waves(waves),
        "min_devices": str(waves[0].min_devices),
        "control_percent": "10",
        "target": "",
        "release": "",
        "despite_harm": "",
    }
    harmful = set(operations.proven_harmful(visit.desk.store, fleet.name))
    running = {one.release for one in fleet.baselines}
    published = [one.release for one in visit.desk.published(visit.operator, fleet.name)]
    fresh = [one for one in published if one not in harmful | running]
    if fresh:  # never one that is known to harm, unless somebody picks it
        usual["release"] = f"{fresh[0].name}:{fresh[0].version}"
    return visit.render(
        "new_rollout.html",
        section="Fleets",
        fleet=fleet,
        releases=sorted(published, key=lambda one: one in harmful),
        harmful=harmful,
        form=usual | dict(visit.form),
        problem=problem,
    )


def _operations(visit: Visit, current: Rollout) -> list[tuple[str, str, bool]]:
    if visit.operator.role < Role.operator:
        return []
    return [(one.name, _LABELS[one.name], one.name in _DANGER) for one in operations.possible(current)]


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
