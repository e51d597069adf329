"""verify: looks again after an execution, and judges before against after on what was really measured."""
