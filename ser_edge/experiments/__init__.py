"""A YAML file of experiments to runs, and their results as a table.

One task a run; run folders hold the state, so that a stopped series resumes.
It imports reports, evaluation and what is below.
"""
