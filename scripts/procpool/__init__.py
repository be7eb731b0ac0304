"""The steps of this project: from the table of releases to tested wheels and the pull request."""

# The module of each step, in the order of the layers.
STEPS = {
    "releases": "catalog.releases",
    "fetch": "catalog.fetch",
    "apply": "patching.apply",
    "wheel": "wheels.command",
    "verify": "wheels.verify",
    "edit": "editing.edit",
    "refresh": "editing.refresh",
    "revisions": "editing.revisions",
    "suite": "suite.run",
    "e2e": "suite.e2e",
    "soak": "suite.soak",
    "worse": "suite.worse",
    "bench": "suite.bench",
    "times": "suite.times",
    "prefixes": "suite.prefixes",
    "mutants": "suite.mutants",
    "check-texts": "checks.texts",
    "check-quilt": "checks.quilt",
    "check-wheels": "checks.wheels",
    "check-consumers": "checks.consumers",
    "update-releases": "upkeep.update_releases",
    "try-release": "upkeep.try_release",
    "tables": "upkeep.tables",
    "upstream-pr": "upstream.pr",
}
