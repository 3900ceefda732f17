"""The machine: crosses a registry of methods with a registry of tasks, runs every trial, tests every difference.

Nothing in this package knows a method or a task by name. Data flows one way:
registry → plan → trial → record → statistics → report.
"""
