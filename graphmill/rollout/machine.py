"""The state machine of a rollout: each look at it does what is due, and leaves a state from which to go on.

moving ──────► watching ──────► moving (next step) … ──► promoting ──► promoted
  │ not ready in time  │ a guard broke, the version went,     │ not ready in time
  ▼                    ▼ nothing is heard                     ▼
  rolling_back ◄───────┴──────────────────────────────────────┘ ──► rolled_back
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from graphmill.errors import UserError
from graphmill.registry import Registry
from graphmill.rollout.guards import Verdict, judge
from graphmill.rollout.observation import Observation, Source
from graphmill.rollout.params import Params, Step
from graphmill.rollout.state import State, Store, newest
from graphmill.rollout.target import Status, Target, Unreachable

LOG = logging.getLogger(__name__)
MINUTE = 60.0
SHORT = 16
"""Characters of a digest by which metrics and prediction logs name a model."""


@dataclass(frozen=True)
class Look:
    """What the guards were told, and what they say."""

    seen: Observation = Observation()
    verdicts: Sequence[Verdict] = ()


class Machine:
    """One rollout.

    Args:
        params: section `rollout`.
        home: the registry; its ``champion`` moves at the end.
        target: where both versions run.
        source: what the guards are told.
        store: where the state is kept, beside what the target keeps.
        clock: seconds since 1970.
        say: told each change in one line.
    """

    def __init__(
        self, params: Params, home: Registry, target: Target, source: Source, store: Store,
        clock: Callable[[], float], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._params, self._home, self._target, self._source, self._store = params, home, target, source, store
        self._clock, self._say = clock, say
        self._found = Look()
        self._unwritten: State | None = None

    def state(self) -> State | None:
        """The newest state of this place and of the target; None before the first rollout.

        Raises:
            UserError: when one of them is damaged.
            Unreachable: when the target does not answer.
        """
        kept = self._target.saved()
        there = None if kept is None else State.parse(kept, "the service's annotation")
        return newest(self._store.read(), there, self._unwritten)

    def begin(self, state: State) -> State:
        """Write the first state of a rollout.

        Raises:
            UserError: when another rollout of this name has not ended.
        """
        running = self.state()
        if running is not None and not running.ended:
            told = f"{running.name}: the rollout of {running.candidate.version} is {running.phase}"
            raise UserError(f"{told}; let it end (`resume`) or end it (`rollback`)")
        now = self._clock()
        return self._keep(replace(state, since=now, heard=now))

    def tick(self) -> State:
        """Do what is due, and return the state then.

        Raises:
            UserError: for what the user must mend first; the state stays, and the next tick tries again.
            Unreachable: when the target does not answer; the same.
        """
        state = self.state()
        if state is None:
            raise UserError("no rollout was begun here")
        due = {
            "moving": self._move, "watching": self._watch, "promoting": self._promote, "rolling_back": self._roll_back,
        }.get(state.phase)  # fmt: skip
        return state if due is None else due(state)

    def roll_back(self, state: State, reason: str) -> State:
        """Write that it is to be rolled back; the next tick does it, also when it could not be written."""
        return self._keep(state.to("rolling_back", self._clock(), reason=reason))

    @property
    def owing(self) -> bool:
        """Whether a rollback could not be written yet: nobody else knows of it."""
        return self._unwritten is not None

    def progress(self, state: State) -> str:
        """How far the step is, and what the guards see."""
        step, seen = self._step(state), self._found
        share = "shadow" if step.traffic == 0 else f"{step.traffic} %"
        if state.phase != "watching":
            doing = {"moving": f"to {share}", "promoting": "takes the champion's place"}
            return f"{state.candidate.version}: {doing.get(state.phase, 'rolling back')}"
        minutes, requests = (self._clock() - state.since) / MINUTE, judged(seen.seen) - state.judged
        measured = [f"{one.name} {one.value:.3f}" for one in seen.verdicts if one.value is not None]
        passed = f"{minutes:.1f} of {step.minutes:g} min, {requests} of {step.requests} requests"
        return "; ".join((f"{state.candidate.version}: {share}, {passed}", *measured))

    def _move(self, state: State) -> State:
        """Let the target carry out the step's traffic."""
        if gone := self._gone(state):
            return self.roll_back(state, gone)
        self._carry_out(state)
        status = self._target.status()
        wanted = self._step(state).traffic
        if status.ready and status.traffic in (None, wanted):
            now = self._clock()
            begun = judged((self._observed(state) or self._found).seen)
            return self._keep(state.to("watching", now, heard=now, judged=begun))
        return self._late(state, status, wanted) or state

    def _late(self, state: State, status: Status, wanted: int) -> State | None:
        """The rollback of a change that failed, or takes too long; None while it may still be carried out."""
        waited = self._clock() - state.since
        if not status.failed and waited <= self._params.ready_minutes * MINUTE:
            return None
        reason = status.reason or f"the candidate gets {status.traffic} % of the traffic, not {wanted} %"
        return self.roll_back(state, reason if status.failed else f"not ready after {_minutes(waited)}: {reason}")

    def _carry_out(self, state: State) -> None:
        step = self._step(state)
        if state.step == 0:
            self._target.start(state.champion, state.candidate)
        if step.traffic or state.step:
            self._target.traffic(step.traffic)

    def _watch(self, state: State) -> State:
        """Read the guards; go on when the step's time and requests have passed."""
        found, status = self._observed(state), self._target.status()
        if reason := self._gone(state) or self._sick(state, status, found) or _broken(found):
            return self.roll_back(state, reason)
        if found is None or not status.ready:
            return state
        now, step = self._clock(), self._step(state)
        if status.traffic not in (None, step.traffic):
            LOG.warning("the candidate gets %s %% of the traffic, not %s %%: set again", status.traffic, step.traffic)
            return self._keep(state.to("moving", now, heard=now))
        state = replace(state, heard=now)
        if now - state.since < step.minutes * MINUTE or judged(found.seen) - state.judged < step.requests:
            return self._beat(state)
        return self._go_on(state)

    def _go_on(self, state: State) -> State:
        """The next step; behind the last one the candidate takes the champion's place."""
        now = self._clock()
        if state.step + 1 < len(self._params.steps):
            return self._keep(state.to("moving", now, step=state.step + 1))
        return self._keep(state.to("promoting", now))

    def _promote(self, state: State) -> State:
        """Only now may go what the champion needed to come back at once; the registry follows."""
        if gone := self._gone(state):
            return self.roll_back(state, gone)
        self._target.promote()
        status = self._target.status()
        if not status.ready or status.traffic not in (None, 100):
            return self._late(state, status, 100) or state
        why = f"rolled out beside {state.champion.version}, no guard broke"
        self._home.move("champion", state.candidate.version, why)
        return self._keep(state.to("promoted", self._clock()))

    def _roll_back(self, state: State) -> State:
        """The target first; the registry follows where the candidate had become the champion already."""
        self._target.rollback()
        if not self._target.status().ready:
            return state
        if self._home.aliases().get("champion") == state.candidate.version:
            self._home.move("champion", state.champion.version, f"rolled back: {state.reason}")
        return self._keep(state.to("rolled_back", self._clock()))

    def _step(self, state: State) -> Step:
        return self._params.steps[min(state.step, len(self._params.steps) - 1)]

    def look(self, state: State) -> Look:
        """Ask the sources, and judge what they tell.

        Raises:
            Unreachable: when they do not answer.
        """
        digests = state.champion.digest[:SHORT], state.candidate.digest[:SHORT]
        seen = self._source.observe(*digests, state.began)
        return Look(seen, judge(self._params.guards, seen))

    def _observed(self, state: State) -> Look | None:
        try:
            self._found = self.look(state)
        except (Unreachable, UserError) as error:  # what cannot be read is as good as silent
            LOG.warning("the guards' sources do not answer: %s", error)
            return None
        return self._found

    def _gone(self, state: State) -> str:
        """A version that was deleted, or replaced, under the rollout."""
        try:
            there = {version.name: version.digest for version in self._home.versions()}
        except UserError as error:  # a registry that is away for a while has deleted nothing
            LOG.warning("%s", error)
            return ""
        for revision in (state.candidate, state.champion):
            if there.get(revision.version) != revision.digest:
                return f"{revision.version} was deleted from the registry"
        return ""

    def _sick(self, state: State, status: Status, found: Look | None) -> str:
        """What will not get better, or has not for too long."""
        silent = self._clock() - state.heard
        if status.failed:
            return status.reason
        if found is None and silent > self._params.blind_minutes * MINUTE:
            return f"the guards' sources have not answered for {_minutes(silent)}"
        if not status.ready and silent > self._params.ready_minutes * MINUTE:
            return f"not ready for {_minutes(silent)}: {status.reason}"
        return ""

    def _keep(self, state: State) -> State:
        """Write a change: beside the service first, for it is what another machine reads.

        Where another watcher was faster, nothing is written, and its state is the one. A rollback that cannot be
        written, for want of room or of rights, is carried out all the same.
        """
        there = self.state()
        if there is not None and there.began == state.began and there.sequence >= state.sequence:
            return there
        try:
            self._target.save(state.text())
            self._store.write(state)
            self._store.tell(state, asdict(self._found))
        except (UserError, Unreachable) as error:
            if state.phase != "rolling_back":
                raise
            LOG.error("%s; it is rolled back all the same", error)
            self._unwritten = state
        else:
            self._unwritten = None
        self._say(line(state, self._params))
        return state

    def _beat(self, state: State) -> State:
        """Write that the guards were heard; that it cannot be written is no reason to stop watching."""
        there = self._store.read()
        if there is not None and there.began == state.began and there.sequence > state.sequence:
            return there
        try:
            self._store.write(state)
        except UserError as error:
            LOG.warning("%s", error)
        return state


def judged(seen: Observation) -> int:
    """Requests that the candidate was asked, its own and mirrored ones."""
    return seen.candidate.requests + seen.compared + seen.mirrored_failures


def line(state: State, params: Params) -> str:
    """The state in one line."""
    pair = f"{state.name}: {state.candidate.version} beside {state.champion.version}"
    step = params.steps[min(state.step, len(params.steps) - 1)]
    share = "shadow" if step.traffic == 0 else f"{step.traffic} %"
    told = {
        "moving": f"{pair}: to {share}",
        "watching": f"{pair}: {share}, watched for {step.minutes:g} min and {step.requests} requests",
        "promoting": f"{pair}: takes the champion's place",
        "rolling_back": f"{pair}: rolling back: {state.reason}",
        "promoted": f"{state.name}: {state.candidate.version} is the champion",
        "rolled_back": f"{state.name}: {state.champion.version} has all of the traffic again: {state.reason}",
    }
    return told[state.phase]


def _broken(found: Look | None) -> str:
    verdicts = () if found is None else found.verdicts
    return "; ".join(f"{verdict.name}: {verdict.meaning}" for verdict in verdicts if verdict.broken)


def _minutes(seconds: float) -> str:
    return f"{seconds / MINUTE:.1f} min"
