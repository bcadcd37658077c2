"""How seeds are carried out, behind ``suite.runs``: processes, run folders, resume."""
