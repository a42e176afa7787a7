"""A YAML file of experiments -> their runs, and their results as a table.

A Ray task a run; run folders hold the state, so that a stopped series resumes.
It imports reports, evaluation and what is below.
"""
