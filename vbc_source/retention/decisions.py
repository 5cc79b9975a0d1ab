"""What a rule means for one recording. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vbc_source.retention.facts import RecordingFacts
from vbc_source.retention.policy import DELETING_ACTIONS, Action, Rule

NOT_ARCHIVED = "it is not archived: run vbc audio"
STILL_AT_VBC = "VBC still has it, and the rule does not delete it there"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a recording, and why not more.

    Attributes:
        rule: Name of the rule that matches it; None if none does, and it is kept.
        actions: What is to be done; empty if nothing is, or everything is done already.
        held: The place in the hold list that forbids a deletion.
        blocked: Why a deletion that the rule demands cannot be planned.
    """

    rule: str | None
    actions: tuple[Action, ...] = ()
    held: str | None = None
    blocked: str | None = None


def decide(facts: RecordingFacts, rule: Rule | None, held: str | None, key: str | None) -> Decision:
    """Decide what is to be done with a recording now.

    Args:
        facts: The recording.
        rule: The first rule that matches it.
        held: The place of the entry of the hold list that holds it, if one does.
        key: The key of its file; None if it has none, or another bucket has it.
    """
    if rule is None:
        return Decision(None)
    actions: list[Action] = []
    # a hold forbids deletions alone
    held = None if set(rule.actions).isdisjoint(DELETING_ACTIONS) else held
    if "archive" in rule.actions and not facts.is_final:
        # what is archived by this plan is deleted by the next one, which has the facts of its file
        return Decision(rule.name, ("archive",), held)
    if held:
        return Decision(rule.name, held=held)
    blocked = None
    if "delete_at_vbc" in rule.actions and not facts.gone:
        blocked = facts.candidate.find_flaw(key) if facts.files else NOT_ARCHIVED
        if not blocked:
            actions.append("delete_at_vbc")
    # blocked at VBC, it is still there: then its file stays too
    if "delete_archive" in rule.actions and facts.files and not blocked:
        if not facts.gone and not actions:
            blocked = STILL_AT_VBC
        else:
            # whose file it is, and not its hash: a damaged file must go as well
            blocked = facts.candidate.find_misplacement(key)
            if not blocked:
                actions.append("delete_archive")
    return Decision(rule.name, tuple(actions), blocked=blocked)


def is_done(action: Action, facts: RecordingFacts) -> bool:
    """Return whether an action needs nothing more, as the ledgers tell."""
    if action == "archive":
        return facts.is_final
    return facts.gone if action == "delete_at_vbc" else not facts.files
