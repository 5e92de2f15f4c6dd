"""Whose sessions are one person: by the names of subjects, and by the rule that the user gives."""
