"""gate: decides who must agree before an action may run, and counts their signatures.

`policy` is the rule book as pure functions over the rules of a file (`default_policy.yaml`, or the operator's), `proposals` applies it,
`signing` counts votes, `ending` lets time and the end of an incident take back what still waits.
"""
