"""Networks of a run as files that need no torch, a runner for them, and a service. Reads artifacts only.

`graphs`, `variants`, `write`, `check` and `loss` make an export and use torch; `manifest`, `sessions`, `runner`,
`answers` and `service` use one and import without it; `doors` opens the extras of both.
"""
