"""What upstreams offer: by which of its rules one serves a model, and who is meant among several.

Within one upstream the exact name beats wildcards, and among wildcards the longest literal start
wins. Across upstreams whoever spells a name out means it more than `*`: they come alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relayd.model import FormatName, ModelRule, UpstreamSpec
from relayd.policy.globs import Glob, fill


class Choice(NamedTuple):
    """One way to serve a model: the upstream, its name for the model, the rule that matched."""

    spec: UpstreamSpec
    model: str
    rule: ModelRule


class Listed(NamedTuple):
    """A line of the model list."""

    name: str
    owner: str


class Catalogue:
    """What one upstream offers."""

    __slots__ = ("_exact", "_globs", "spec")

    def __init__(self, spec: UpstreamSpec) -> None:
        self.spec = spec
        # Of two rules for the same name the first counts, as everywhere in the configuration.
        self._exact = {r.pattern: r for r in reversed(spec.models) if not r.is_wildcard}
        globs = [(Glob(r.pattern), r) for r in spec.models if r.is_wildcard]
        self._globs = sorted(globs, key=lambda pair: pair[0].particularity, reverse=True)

    def find(self, model: str) -> Choice | None:
        """How the upstream serves a model, or None where it does not."""
        rule = self._exact.get(model)
        if rule is not None:
            return Choice(self.spec, rule.target or model, rule)
        for glob, rule in self._globs:
            stars = glob.match(model)
            if stars is not None:
                return Choice(self.spec, fill(rule.target, stars) if rule.target else model, rule)
        return None


def speaking(offers: Iterable[Choice], format: FormatName) -> list[Choice]:
    """Those of them who speak the format themselves, and are meant."""
    return _meant(choice for choice in offers if format in choice.spec.formats)


def translating(offers: Iterable[Choice], format: FormatName) -> list[Choice]:
    """Those of them who do not, are meant, and may be asked by a translation."""
    others = (choice for choice in offers if format not in choice.spec.formats)
    return [choice for choice in _meant(others) if choice.spec.translate]


def _meant(found: Iterable[Choice]) -> list[Choice]:
    """Those that spell the name out, or all where none does."""
    choices = list(found)
    return [choice for choice in choices if not choice.rule.is_wildcard] or choices


def listed(specs: Iterable[UpstreamSpec]) -> list[Listed]:
    """The models that can be named (no wildcards), in configured order, each once."""
    first: dict[str, Listed] = {}
    for spec in specs:
        for rule in spec.models:
            if not rule.is_wildcard:
                first.setdefault(rule.pattern, Listed(rule.pattern, spec.name))
    return list(first.values())
