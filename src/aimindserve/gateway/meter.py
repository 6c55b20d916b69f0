"""Counters of one gateway process, in memory, and how Prometheus reads them.

Labels are names of keys, routes and instances, never secrets, and their number is bounded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aimindserve.gateway.usage import Usage

SERIES_LIMIT = 5000
OTHER = ("other", "other")


@dataclass(slots=True)
class Tally:
    """What one key did with one model."""

    requests: int = 0
    failures: int = 0
    """Answers with a status of 500 or more, and answers that broke off."""
    cancelled: int = 0
    """The client hung up first."""
    unmetered: int = 0
    """Complete answers that did not say what they cost."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Meter:
    """Counts. Reading it is `render`."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], Tally] = {}
        """By (name of the key, route)."""
        self.in_flight: dict[str, int] = {}
        """Requests under way by instance; exact, also under cancellation."""
        self.upstream_failures: dict[str, int] = {}
        """By kind of failure."""
        self.retries = 0

    def tally(self, key: str, model: str) -> Tally:
        """The tally of `key` and `model`; one for all others once there are too many."""
        found = self.tallies.get((key, model))
        if found is None:
            label = (key, model) if len(self.tallies) < SERIES_LIMIT else OTHER
            found = self.tallies.setdefault(label, Tally())
        return found

    def begin(self, instance: str) -> None:
        """A request goes to `instance`."""
        self.in_flight[instance] = self.in_flight.get(instance, 0) + 1

    def end(self, instance: str) -> None:
        """It is over, however it ended."""
        left = self.in_flight[instance] - 1
        if left:
            self.in_flight[instance] = left
        else:
            del self.in_flight[instance]

    def failed(self, kind: str) -> None:
        """An upstream failed."""
        self.upstream_failures[kind] = self.upstream_failures.get(kind, 0) + 1

    def render(self, gauges: Mapping[str, float]) -> str:
        """Prometheus' text format. `gauges` are values only the caller knows, by metric name."""
        lines: list[str] = []
        for name, text, field in _COUNTERS:
            lines += _head(name, text, "counter")
            lines += [
                f"{name}{_labels(key=key, model=model)} {getattr(tally, field)}"
                for (key, model), tally in self.tallies.items()
            ]
        lines += _head(_IN_FLIGHT, "Requests under way.", "gauge")
        lines += [
            f"{_IN_FLIGHT}{_labels(instance=instance)} {count}"
            for instance, count in self.in_flight.items()
        ]
        lines += _head(_FAILURES, "Failures of upstreams, by kind.", "counter")
        lines += [
            f"{_FAILURES}{_labels(kind=kind)} {count}"
            for kind, count in self.upstream_failures.items()
        ]
        lines += [*_head(_RETRIES, "Requests sent anew.", "counter"), f"{_RETRIES} {self.retries}"]
        for name, value in gauges.items():
            text = name.removeprefix("aims_gateway_").replace("_", " ").capitalize() + "."
            lines += [*_head(name, text, "gauge"), f"{name} {value}"]
        return "\n".join(lines) + "\n"


def count(tally: Tally, usage: Usage | None) -> None:
    """Add a complete answer's cost to `tally`."""
    if usage is None:
        tally.unmetered += 1
        return
    tally.prompt_tokens += usage[0]
    tally.completion_tokens += usage[1]


_IN_FLIGHT = "aims_gateway_in_flight_requests"
_FAILURES = "aims_gateway_upstream_failures_total"
_RETRIES = "aims_gateway_retries_total"
_COUNTERS = (
    ("aims_gateway_requests_total", "Inference requests that found a model.", "requests"),
    ("aims_gateway_failed_requests_total", "Answers of 500 and more, or broken off.", "failures"),
    ("aims_gateway_cancelled_requests_total", "Requests whose client hung up.", "cancelled"),
    ("aims_gateway_unmetered_requests_total", "Answers without usage.", "unmetered"),
    ("aims_gateway_prompt_tokens_total", "Tokens read.", "prompt_tokens"),
    ("aims_gateway_completion_tokens_total", "Tokens written.", "completion_tokens"),
)


def _head(name: str, text: str, kind: str) -> Iterable[str]:
    return (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def _labels(**labels: str) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
