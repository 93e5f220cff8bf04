"""Networks of a run as files that need no torch, a runner for them, and a service. Reads artifacts only.

`graphs`, `write`, `check` and `quantise` make an export and use torch; `manifest`, `sessions`, `runner`, `folder` and
`service` use one and import without it.
"""
