"""Several sources as one: what one cannot see another may."""

from collections.abc import Callable, Sequence

from graphmill.rollout.observation import Observation, Seen, Source


class Joined:
    """Sources in the order of their rank.

    What belongs together comes from one source, for both versions: counts of two sources cannot be compared. The
    first that has seen any of it counts.

    When one of them is unreachable there is no answer at all. A rollout that goes on while its error rate is not
    watched is what the guards are there to prevent: it waits, and after `blind_minutes` it is rolled back.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def observe(self, champion: str, candidate: str, since: float) -> Observation:
        """See `Source.observe`."""
        return merged([source.observe(champion, candidate, since) for source in self._sources])


def merged(found: Sequence[Observation]) -> Observation:
    """One observation of several, ranked.

    Args:
        found: one of each source, at least one.
    """
    watched = _first(found, lambda seen: seen.failures is not None, _first(found, lambda seen: seen.requests > 0))
    latency = _first(found, lambda seen: any(seen.latency.values()))
    scores = _first(found, lambda seen: any(seen.scores.values()))
    labelled = _first(found, lambda seen: seen.alarms > 0)
    mirrored = next((one for one in found if one.compared + one.mirrored_failures), found[0])

    def version(of: Callable[[Observation], Seen]) -> Seen:
        return Seen(
            of(watched).requests, of(watched).failures, of(latency).latency, of(scores).scores,
            of(labelled).alarms, of(labelled).true_alarms,
        )  # fmt: skip

    return Observation(
        version(lambda one: one.champion), version(lambda one: one.candidate),
        mirrored.compared, mirrored.disagreed, mirrored.mirrored_failures,
    )  # fmt: skip


def _first(
    found: Sequence[Observation], has: Callable[[Seen], bool], otherwise: Observation | None = None
) -> Observation:
    """The first that has it of one version at least."""
    default = found[0] if otherwise is None else otherwise
    return next((one for one in found if has(one.champion) or has(one.candidate)), default)
